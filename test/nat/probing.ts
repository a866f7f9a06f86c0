import { isDeepStrictEqual } from "node:util";
import { output, startChild } from "./child.ts";
import type { Namespace } from "./namespace.ts";
import { NAT_TYPES, type NatName } from "./nat-types.ts";
import { type Network, SERVER_ADDRESSES } from "./network.ts";
import type { Sighting } from "./probe-messages.ts";

/** Looks at a NAT of each type with a probe; rejects when one is not what it claims to be. */
export async function verifyTypes(network: Network, names: readonly NatName[]): Promise<void> {
  const stop = await startProbeServer(network);
  const verify = async (nat: NatName): Promise<void> => {
    const household = await network.household({ nat });
    for (const host of household.hosts) {
      const [claimed, seen] = [claimOf(nat), await probe(host)];
      if (!isDeepStrictEqual(seen, claimed))
        throw new Error(`${nat} is not what it claims: ${JSON.stringify({ claimed, seen })}`);
    }
    await household.remove();
  };
  try {
    await Promise.all(names.map(verify));
  } finally {
    await stop();
  }
}

/** Starts the other end of the probe in the server's namespace; returns how to end it. */
async function startProbeServer(network: Network): Promise<() => Promise<void>> {
  const server = startChild(network.server, "probe-server.ts", SERVER_ADDRESSES);
  await server.line("ready");
  return () => server.stop();
}

/** What the NAT of a host looks like from behind it. */
async function probe(host: Namespace): Promise<Sighting> {
  return JSON.parse(await output(startChild(host, "probe.ts", SERVER_ADDRESSES))) as Sighting;
}

/** What a probe must see behind a NAT that is what it claims. */
function claimOf(nat: NatName): Sighting {
  const { mapping, filtering, udp, breaksWhenEarly } = NAT_TYPES[nat].behaviour;
  if (!udp) return { udp, tcp: { open: true, other: false } };
  return {
    udp,
    tcp: { open: true, other: true },
    mapping,
    filtering,
    keepsPort: nat !== "symmetric" && nat !== "carrier-grade",
    ...(mapping === "endpoint-independent" && { breaksWhenEarly }),
  };
}
