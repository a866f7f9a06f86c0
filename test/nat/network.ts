import { type Delay, layDelayLine } from "./delay-line.ts";
import { Namespace, runTool } from "./namespace.ts";
import { NAT_TYPES, type NatName } from "./nat-types.ts";

/**
 * The lab's internet: a core that knows every public address by itself and drops everything else without a word, a server with
 * two addresses, and households behind their routers.
 *
 * Public addresses are of 11.0.0.0/8 and not of the blocks for documentation: a relay refuses those as peers, and the lab
 * is to meet the policy as it is by default. No namespace has a way out, so nobody's addresses are touched.
 */

const GATEWAY = "11.0.0.1";
export const SERVER_ADDRESSES = ["11.0.1.10", "11.0.1.11"] as const;
/** Households at a time: each has a byte in its addresses, which one that is gone leaves to another. */
const MOST_HOUSEHOLDS = 250;

export interface HouseholdOptions {
  readonly nat: NatName;
  /** How many hosts. Default 1. */
  readonly hosts?: number;
  /** Hosts of a household reach each other only through the router. Default false. */
  readonly isolated?: boolean;
  /** Third byte of 192.168.x.0/24. Default: one that no other household has. */
  readonly lan?: number;
  /** Of the line that connects it. Default: none. */
  readonly delay?: Delay | undefined;
}

export interface Household {
  readonly nat: NatName;
  /** Where its packets come from. */
  readonly address: string;
  /** The core's interface towards it. */
  readonly port: string;
  /** Third byte of 192.168.x.0/24. */
  readonly lan: number;
  readonly hosts: readonly Namespace[];
  /** From the one next to the hosts to the one next to the core. */
  readonly routers: readonly Namespace[];
  remove(): Promise<void>;
}

/** What goes wrong between public addresses. */
export interface Impairments {
  /** Packets lost from and to an address, per thousand. */
  readonly loss?: readonly { readonly address: string; readonly perMille: number }[];
  /** Pairs of addresses between which nothing passes. */
  readonly severed?: readonly (readonly [string, string])[];
}

export class Network {
  readonly core: Namespace;
  readonly server: Namespace;
  #ports = 0;
  #households = 0;

  private constructor(core: Namespace, server: Namespace) {
    this.core = core;
    this.server = server;
  }

  static async create(): Promise<Network> {
    const network = new Network(await Namespace.create("core"), await Namespace.create("server"));
    await network.core.set({ "ipv4/ip_forward": 1 });
    await network.core.ip("route add blackhole default");
    await network.impair({});
    await network.attach(network.server, SERVER_ADDRESSES);
    return network;
  }

  /** Gives a namespace public addresses, on an interface of this name; returns that of the core, and what keeps the line. */
  async attach(
    to: Namespace,
    addresses: readonly string[],
    { dev = "wan", delay }: { readonly dev?: string; readonly delay?: Delay | undefined } = {},
  ): Promise<{ readonly port: string; readonly line: Namespace | undefined }> {
    const number = ++this.#ports;
    const port = `c${number}`;
    const line =
      delay && (await layDelayLine(`l${number}`, { where: to, dev }, { where: this.core, dev: port }, delay));
    if (!line) await to.ip(`link add ${dev} type veth peer name ${port} netns ${this.core.name}`);
    await to.ip(
      ...addresses.map((address) => `addr add ${address}/32 dev ${dev}`),
      `link set ${dev} up`,
      `route add default via ${GATEWAY} dev ${dev} onlink src ${addresses[0]}`,
    );
    await this.core.ip(
      `addr add ${GATEWAY}/32 dev ${port}`,
      `link set ${port} up`,
      ...addresses.map((address) => `route add ${address}/32 dev ${port}`),
    );
    return { port, line };
  }

  /** Puts these impairments in the place of those before. */
  async impair({ loss = [], severed = [] }: Impairments): Promise<void> {
    const rules = [
      ...loss.flatMap(({ address, perMille }) =>
        ["saddr", "daddr"].map((side) => `ip ${side} ${address} ${lottery(perMille)} drop`),
      ),
      ...severed.flatMap(([one, other]) => [
        `ip saddr ${one} ip daddr ${other} drop`,
        `ip saddr ${other} ip daddr ${one} drop`,
      ]),
    ];
    const chain = ["type filter hook forward priority filter;", ...rules].join("\n");
    await this.core.nft(`table ip lab {}\ndelete table ip lab\ntable ip lab {\nchain forward {\n${chain}\n}\n}`);
  }

  /** Builds a household and connects it. */
  async household(options: HouseholdOptions): Promise<Household> {
    const number = (this.#households++ % MOST_HOUSEHOLDS) + 1;
    const { nat, hosts: count = 1, isolated = false, lan = number, delay } = options;
    const address = `11.1.${number}.1`;
    const hosts: Namespace[] = [];
    const routers: Namespace[] = [];
    for (let index = 0; index < count; index++) hosts.push(await Namespace.create(`h${number}-${index}`));
    for (const [index, rules] of NAT_TYPES[nat].routers.entries()) {
      const router = await Namespace.create(`r${number}-${index}`);
      await router.set({ "ipv4/ip_forward": 1 });
      await router.nft(rules);
      routers.push(router);
    }
    const [home, ...carrier] = routers;
    let edge = home;
    if (home) {
      await bridge(home, number, lan);
      for (const [index, host] of hosts.entries()) await plug(home, host, { index, lan, isolated });
      for (const outer of carrier) edge = await chain(edge ?? home, outer, number);
    }
    const outermost = edge ?? hosts[0];
    if (!outermost) throw new Error("a household without a router has a host");
    const { port, line } = await this.attach(outermost, [address], { dev: edge ? "wan" : "eth0", delay });
    const remove = async (): Promise<void> => {
      await Promise.all([...hosts, ...routers, ...(line ? [line] : [])].map((namespace) => namespace.remove()));
    };
    return { nat, address, port, lan, hosts, routers, remove };
  }

  /** Gives a household behind a router another public address; what was mapped to the one before is gone. */
  async readdress(household: Household): Promise<Household> {
    const address = household.address.replace(/^11\.1\./, "11.2.");
    const router = household.routers.at(-1);
    if (!router) throw new Error("a household that is to be renumbered has a router");
    await this.core.ip(`route del ${household.address}/32 dev ${household.port}`);
    await router.ip(
      `addr del ${household.address}/32 dev wan`,
      `addr add ${address}/32 dev wan`,
      `route replace default via ${GATEWAY} dev wan onlink src ${address}`,
    );
    await this.core.ip(`route add ${address}/32 dev ${household.port}`);
    return { ...household, address };
  }

  /** Unplugs a host and plugs it in at another household, with an address there. */
  async move(host: Namespace, to: Household): Promise<void> {
    const [home] = to.routers;
    if (!home) throw new Error("a host moves to a household with a router");
    await host.ip("link del eth0");
    await plug(home, host, { index: GUEST, lan: to.lan, isolated: false });
  }
}

/** The place of a guest in a household; its own hosts come before. */
const GUEST = 9;

/** A condition that so many of a thousand packets meet. */
function lottery(perMille: number): string {
  return perMille >= 1_000 ? "" : `numgen random mod 1000 < ${perMille}`;
}

/** The bridge of a household. Its own MAC, so that it does not change with the ports. */
async function bridge(router: Namespace, number: number, lan: number): Promise<void> {
  await router.ip(
    "link add lan type bridge",
    `link set lan address 02:00:00:00:${number.toString(16).padStart(2, "0")}:01`,
    `addr add 192.168.${lan}.1/24 dev lan`,
    "link set lan up",
  );
}

/** Plugs a host into a router's bridge. Being isolated is a property of the port: it is lost when that is made again. */
async function plug(
  router: Namespace,
  host: Namespace,
  { index, lan, isolated }: { readonly index: number; readonly lan: number; readonly isolated: boolean },
): Promise<void> {
  const port = `p${index}`;
  await host.ip(
    `link add eth0 type veth peer name ${port} netns ${router.name}`,
    `addr add 192.168.${lan}.${index + 2}/24 dev eth0`,
    "link set eth0 up",
    `route add default via 192.168.${lan}.1`,
  );
  await router.ip(`link set ${port} master lan`, `link set ${port} up`);
  if (isolated) await runTool("bridge", ["-n", router.name, "link", "set", "dev", port, "isolated", "on"]);
}

/** Connects a home's router to the carrier's, with addresses of RFC 6598 between them. */
async function chain(inner: Namespace, outer: Namespace, number: number): Promise<Namespace> {
  await inner.ip(
    `link add wan type veth peer name lan netns ${outer.name}`,
    `addr add 100.64.${number}.2/30 dev wan`,
    "link set wan up",
    `route add default via 100.64.${number}.1`,
  );
  await outer.ip(`addr add 100.64.${number}.1/30 dev lan`, "link set lan up");
  return outer;
}
