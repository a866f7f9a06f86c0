import { type Expectation, expectedPath } from "./behaviour.ts";
import type { Delay } from "./delay-line.ts";
import type { Namespace } from "./namespace.ts";
import { NAT_NAMES, NAT_TYPES, type NatName } from "./nat-types.ts";
import type { Household, Network } from "./network.ts";

/** The cells of the matrix: where the two agents of each sit, and which path theory allows them. */

/** Which bound on time holds for a cell. */
export type Kind = "direct" | "relayed" | "udp-blocked";

export interface Cell {
  readonly name: string;
  readonly expected: Expectation;
  readonly udp: boolean;
  /** Whether only the addresses of the hosts themselves make it direct, not those that a router lends. */
  readonly local?: boolean;
  /** The NATs that the two are behind. */
  readonly nats: readonly [NatName, NatName];
  /** Whether the two are behind one router. */
  readonly shared?: boolean;
  /** `delay` is that of the line of the first household. */
  build(network: Network, delay?: Delay): Promise<Ground>;
}

/** Two hosts, the first in the first household, and the households to take down after them. */
export interface Ground {
  readonly hosts: readonly [Namespace, Namespace];
  readonly households: readonly Household[];
}

export const SPECIAL_CELLS: readonly Cell[] = [
  {
    name: "same LAN",
    expected: "direct",
    udp: true,
    local: true,
    shared: true,
    nats: ["port-restricted", "port-restricted"],
    build: (network, delay) => oneHousehold(network, { isolated: false, delay }),
  },
  {
    // Its router does not turn packets round: both would have to reach each other by its own public address.
    name: "same NAT, isolated",
    expected: "relayed",
    udp: true,
    shared: true,
    nats: ["port-restricted", "port-restricted"],
    build: (network, delay) => oneHousehold(network, { isolated: true, delay }),
  },
  {
    // Even the hosts' own addresses are equal.
    name: "colliding ranges",
    expected: "direct",
    udp: true,
    nats: ["port-restricted", "port-restricted"],
    build: (network, delay) => twoHouseholds(network, ["port-restricted", "port-restricted"], { lan: 77, delay }),
  },
];

/** Every pair of these types, each once. */
export function pairCells(names: readonly NatName[] = NAT_NAMES): Cell[] {
  return names.flatMap((one, index) => names.slice(index).map((other) => pairCell(one, other)));
}

export function pairCell(one: NatName, other: NatName): Cell {
  const [left, right] = [NAT_TYPES[one].behaviour, NAT_TYPES[other].behaviour];
  return {
    name: `${one} / ${other}`,
    expected: expectedPath(left, right),
    udp: left.udp && right.udp,
    nats: [one, other],
    build: (network, delay) => twoHouseholds(network, [one, other], { delay }),
  };
}

export function kindOf(cell: Cell, path: string): Kind {
  if (!cell.udp) return "udp-blocked";
  return path === "direct" ? "direct" : "relayed";
}

async function twoHouseholds(
  network: Network,
  [one, other]: readonly [NatName, NatName],
  { delay, ...where }: { readonly lan?: number; readonly delay: Delay | undefined },
): Promise<Ground> {
  const left = await network.household({ nat: one, delay, ...where });
  const right = await network.household({ nat: other, ...where });
  return { hosts: [hostOf(left, 0), hostOf(right, 0)], households: [left, right] };
}

async function oneHousehold(
  network: Network,
  options: { readonly isolated: boolean; readonly delay: Delay | undefined },
): Promise<Ground> {
  const household = await network.household({ nat: "port-restricted", hosts: 2, ...options });
  return { hosts: [hostOf(household, 0), hostOf(household, 1)], households: [household] };
}

function hostOf(household: Household, index: number): Namespace {
  const host = household.hosts[index];
  if (!host) throw new Error("a household has the hosts that were asked for");
  return host;
}
