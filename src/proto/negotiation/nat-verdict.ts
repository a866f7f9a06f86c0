/**
 * What a NAT means for direct links, in the words of RFC 4787 and in those of people.
 *
 * Two machines reach each other directly when at least one of them lets the first packet of the other in, or when both send at once
 * and each knows the port that the other's NAT will use. A NAT whose mapping depends on where a packet goes hides that port: it is
 * *hard*. Whatever keeps its mapping is *easy*. Two hard ones, or a hard one and one that filters by port, need a relay.
 */

export type NatMapping =
  /** Our own address is the one that others see. */
  | "none"
  | "endpoint-independent"
  | "address-dependent"
  | "address-and-port-dependent"
  /** It depends on where a packet goes; no server has a second address to tell more. */
  | "endpoint-dependent"
  | "unknown";
export type NatFiltering = "endpoint-independent" | "address-dependent" | "address-and-port-dependent" | "unknown";

export interface NatFacts {
  readonly udp: "open" | "blocked" | "unknown";
  readonly mapping: NatMapping;
  readonly filtering: NatFiltering;
}

export type NatKind = "open" | "easy" | "hard" | "blocked" | "unknown";

export function natKind({ udp, mapping, filtering }: NatFacts): NatKind {
  if (udp !== "open") return udp;
  if (mapping === "none") return filtering === "endpoint-independent" ? "open" : "easy";
  if (mapping === "endpoint-independent") return "easy";
  return mapping === "unknown" ? "unknown" : "hard";
}

/** Whether two machines can be linked directly; undefined where too little is known. Ports are not guessed. */
export function canLinkDirectly(one: NatFacts, other: NatFacts): boolean | undefined {
  const kinds = [natKind(one), natKind(other)];
  if (kinds.includes("blocked")) return false;
  if (kinds.includes("open")) return true;
  if (kinds.includes("unknown")) return undefined;
  const hard = kinds.filter((kind) => kind === "hard").length;
  if (hard !== 1) return hard === 0;
  const easy = kinds[0] === "easy" ? one : other;
  // The hard side's packets come from a port that nobody has seen: only who lets them in by their address hears of it.
  return easy.filtering === "unknown" ? undefined : easy.filtering !== "address-and-port-dependent";
}

/** What the facts of this machine mean, for people. `relay`: a TURN server lends us an address. */
export function natMeaning(facts: NatFacts, relay: "udp" | "stream" | "none"): string {
  const fallback =
    relay === "none" ? "no TURN server answers, so those cannot be reached" : "those go through the relay";
  switch (natKind(facts)) {
    case "unknown":
      return facts.udp === "unknown"
        ? "No STUN or TURN server is known, so nothing can be said about how others reach this machine; name one in iceServers."
        : "UDP passes, but what the NAT does cannot be told: it takes a STUN server with two addresses, or two servers.";
    case "blocked":
      return relay === "stream"
        ? "UDP is blocked: every link goes through the relay over TCP or TLS."
        : "UDP is blocked and no relay answers over TCP or TLS: only members on the same network can be reached.";
    case "open":
      return "No NAT and no filter: everybody whose UDP passes reaches this machine directly.";
    case "easy":
      return facts.filtering === "address-and-port-dependent" || facts.filtering === "unknown"
        ? `An easy NAT: direct links with everybody but members behind a hard NAT; ${fallback}.`
        : "An easy NAT: direct links with everybody whose UDP passes.";
    case "hard":
      return `A hard NAT: direct links only with members without a NAT or behind one that filters by address at most; for the others, ${fallback}.`;
  }
}
