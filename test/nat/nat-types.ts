import type { Behaviour } from "./behaviour.ts";

/**
 * Every type of NAT of the lab: what it claims to be, and the rules (nftables) of the routers that make it so, the one next to
 * the host first. A router has the interfaces `lan` and `wan`.
 *
 * Linux maps endpoint-independently as long as the port is free (it looks for an earlier mapping of the same source), keeps
 * the port where it can, and filters by address and port: a reply must match the connection. What differs from that is made
 * here. The rules are checked by a probe, see `probing.ts`.
 */

export type NatName =
  | "none"
  | "full-cone"
  | "restricted"
  | "port-restricted"
  | "symmetric"
  | "carrier-grade"
  | "early-inbound"
  | "udp-blocked";

export interface NatType {
  readonly behaviour: Behaviour;
  /** None: the host itself has the public address. */
  readonly routers: readonly string[];
}

/** The TCP ports that a network which blocks UDP still lets out. */
export const OPEN_TCP_PORTS = [443, 3_478] as const;

const masquerade = (how = ""): string => `table ip nat {
  chain source { type nat hook postrouting priority srcnat; oifname "wan" meta l4proto { tcp, udp } masquerade ${how}; }
}
`;

/** What nobody inside has asked for is dropped before it becomes a connection. */
const CLOSED = `table ip own {
  chain input { type filter hook input priority filter; iifname "wan" drop; }
}
`;

/**
 * Learns each public port and who is behind it, and sends packets for it there, from anybody who is let in: `admitted` is a
 * further condition for that, `contacted` what is remembered for it.
 */
const cone = (admitted: string, contacted: string): string => `table ip cone {
  map address { type inet_service : ipv4_addr; flags dynamic, timeout; timeout 5m; size 4096; }
  map port { type inet_service : inet_service; flags dynamic, timeout; timeout 5m; size 4096; }
  set contacts { type inet_service . ipv4_addr; flags dynamic, timeout; timeout 5m; size 4096; }
  chain learn {
    type filter hook postrouting priority 300;
    oifname "wan" ip protocol udp ct direction original update @address { ct reply proto-dst : ct original ip saddr }
    oifname "wan" ip protocol udp ct direction original update @port { ct reply proto-dst : ct original proto-src }
    ${contacted}
  }
  chain inbound {
    type nat hook prerouting priority dstnat;
    iifname "wan" ip protocol udp ${admitted} dnat to udp dport map @address : udp dport map @port
  }
}`;

const FULL_CONE = cone("", "");
const RESTRICTED = cone(
  "udp dport . ip saddr @contacts",
  'oifname "wan" ip protocol udp ct direction original update @contacts { ct reply proto-dst . ip daddr }',
);

/** Nothing but TCP to a few ports passes, and what belongs to it. */
const TCP_ONLY = `table ip fence {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established, related accept
    iifname "lan" tcp dport { ${OPEN_TCP_PORTS.join(", ")} } accept
  }
}`;

const BASE: Behaviour = {
  mapping: "endpoint-independent",
  filtering: "address-and-port-dependent",
  udp: true,
  breaksWhenEarly: false,
};

export const NAT_TYPES: Readonly<Record<NatName, NatType>> = {
  none: { behaviour: { ...BASE, filtering: "endpoint-independent" }, routers: [] },
  "full-cone": {
    behaviour: { ...BASE, filtering: "endpoint-independent" },
    routers: [masquerade() + CLOSED + FULL_CONE],
  },
  restricted: { behaviour: { ...BASE, filtering: "address-dependent" }, routers: [masquerade() + CLOSED + RESTRICTED] },
  "port-restricted": { behaviour: BASE, routers: [masquerade() + CLOSED] },
  symmetric: {
    behaviour: { ...BASE, mapping: "address-and-port-dependent" },
    routers: [masquerade("fully-random") + CLOSED],
  },
  // The carrier's router does not keep ports: many customers share one address.
  "carrier-grade": { behaviour: BASE, routers: [masquerade() + CLOSED, masquerade("to :1024-32000") + CLOSED] },
  // A packet for a port of the router itself becomes a connection of its own, which then stands in the way.
  "early-inbound": { behaviour: { ...BASE, breaksWhenEarly: true }, routers: [masquerade()] },
  "udp-blocked": { behaviour: { ...BASE, udp: false }, routers: [masquerade() + CLOSED + TCP_ONLY] },
};

export const NAT_NAMES = Object.keys(NAT_TYPES) as NatName[];
