import type { NetcheckReport } from "../../src/netcheck.ts";
import { output, startChild } from "./child.ts";
import type { Namespace } from "./namespace.ts";
import { NAT_TYPES, type NatName } from "./nat-types.ts";
import { type Network, SERVER_ADDRESSES } from "./network.ts";
import { STUN_PORT } from "./turn-servers.ts";

/** What `starling netcheck` says of a NAT, and what it should say. */

export type Verdict = Pick<NetcheckReport, "udp"> & NetcheckReport["nat"];

/** The command's word on each type, asked behind fresh routers. */
export async function netcheckEach(network: Network, names: readonly NatName[]): Promise<Record<string, Verdict>> {
  const entries = names.map(async (nat) => {
    const household = await network.household({ nat });
    const verdicts = await Promise.all(household.hosts.map(netcheck));
    await household.remove();
    return verdicts.map((verdict) => [nat, verdict] as const);
  });
  return Object.fromEntries((await Promise.all(entries)).flat());
}

async function netcheck(host: Namespace): Promise<Verdict> {
  const args = ["netcheck", "--json", "--stun", `stun:${SERVER_ADDRESSES[0]}:${STUN_PORT}`];
  const { udp, nat } = JSON.parse(await output(startChild(host, "../../src/cli/starling.js", args))) as NetcheckReport;
  return { udp, ...nat };
}

/** What is to be said of a type. That early packets break a mapping cannot be seen without breaking one. */
export function verdictOn(nat: NatName): Verdict {
  const { mapping, filtering, udp } = NAT_TYPES[nat].behaviour;
  if (!udp) return { udp: "blocked", mapping: "unknown", filtering: "unknown", kind: "blocked" };
  if (nat === "none") return { udp: "open", mapping: "none", filtering, kind: "open" };
  return { udp: "open", mapping, filtering, kind: mapping === "endpoint-independent" ? "easy" : "hard" };
}
