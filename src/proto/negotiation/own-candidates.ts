import { describeCandidate } from "./sdp.ts";

/**
 * Which of our own addresses a peer is offered.
 *
 * Bridges of containers and tunnels of other networks only cost checks: a peer either cannot reach them or reaches this agent
 * through another mesh. An address that a port forwarding or a one-to-one NAT lends this machine is known to nobody but the
 * operator: it is offered beside each host candidate, with the same port.
 */

/** An address of an interface of this machine. */
export interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
  /** Loopback. */
  readonly internal: boolean;
}

/** Beginnings of names of interfaces that are not offered by default: containers, virtual machines, tunnels. */
export const SKIPPED_INTERFACES: readonly string[] = [
  ...["docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "podman", "lxc", "cni", "flannel", "cali"],
  ...["tun", "tap", "utun", "wg", "tailscale", "zt", "ipsec", "gif", "awdl", "llw"],
];

/** What is kept back, and what is offered although a stack would not. */
export interface OfferedAddresses {
  readonly skipped: ReadonlySet<string>;
  readonly extra: readonly string[];
}

/**
 * Sorts the addresses of this machine. `prefixes`: names of interfaces that are not offered, by how they begin; undefined for the
 * default, which gives way where nothing else is left: a container may have no interface but `tap0`.
 */
export function sortAddresses(
  interfaces: readonly InterfaceAddress[],
  prefixes: readonly string[] | undefined,
): OfferedAddresses {
  const outside = interfaces.filter(({ internal }) => !internal);
  const names = prefixes ?? SKIPPED_INTERFACES;
  const skipped = outside.filter(({ name }) => names.some((prefix) => name.startsWith(prefix)));
  if (prefixes === undefined && skipped.length === outside.length) {
    // Link-local addresses need a zone, which a candidate cannot carry.
    const usable = outside.filter(({ address }) => !/^fe[89ab]/i.test(address));
    return { skipped: new Set(), extra: usable.map(({ address }) => address) };
  }
  return { skipped: new Set(skipped.map(({ address }) => address)), extra: [] };
}

/** Below the stacks' own host candidates, so that those are tried first (RFC 8445, section 5.1.2.1, local preference 0). */
const ANNOUNCED_PRIORITY = 126 * 0x100_0000 + 255;

/** The candidates of one connection on their way to the peer. */
export class OwnCandidates {
  readonly #skipped: ReadonlySet<string>;
  readonly #announced: readonly string[];
  readonly #said = new Set<string>();

  /** @param announced addresses by which others reach this machine, beside those that it has. */
  constructor(skipped: ReadonlySet<string>, announced: readonly string[]) {
    this.#skipped = skipped;
    this.#announced = announced;
  }

  /** What the peer is told in place of `candidate`: nothing, itself, or itself and more. */
  take(candidate: string): readonly string[] {
    const [kind = "", where = ""] = describeCandidate(candidate).split(" ");
    if (kind !== "host") return [candidate];
    const colon = where.lastIndexOf(":");
    const own = where.slice(0, colon).replace(/^\[|\]$/g, "");
    const offered = this.#skipped.has(own) ? [] : [candidate];
    const port = where.slice(colon + 1);
    for (const [index, address] of this.#announced.entries()) {
      const said = `${address} ${port}`;
      if (address.includes(":") !== own.includes(":") || this.#said.has(said)) continue;
      this.#said.add(said);
      offered.push(`candidate:announced${index} 1 udp ${ANNOUNCED_PRIORITY} ${said} typ host`);
    }
    return offered;
  }
}
