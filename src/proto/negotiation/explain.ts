import { canLinkDirectly, type NatFacts, natKind } from "./nat-verdict.ts";

/**
 * Why two members are linked the way they are, from what both know of their networks: the sentence and the remedy that
 * `starling why` prints. What the two report is their own word; nothing depends on it but what a person reads.
 */

/** What one side brings. */
export interface Standing extends NatFacts {
  /** Addresses by which servers see it. */
  readonly public: readonly string[];
  /** Why its last connection with the other failed, `stage: reason`; undefined when it did not. */
  readonly failure: string | undefined;
}

export type PathWord = "direct" | "turn" | "relay" | "routed" | "none";

export interface Explanation {
  readonly why: string;
  readonly remedy: string | null;
}

/** What opens a NAT, as advice. */
const OPEN_A_NAT =
  "forward a range of UDP ports on one of the routers to the machine (--port-range, --announce), use IPv6 on both sides, or let one router keep its mappings (full cone, endpoint-independent)";

/** Explains the path between us and a peer; `theirs` undefined: it did not answer. */
export function explain(path: PathWord, ours: Standing, theirs: Standing | undefined): Explanation {
  if (path === "direct") return { why: "The link is direct.", remedy: null };
  const blocked = blockedSide(ours, theirs);
  if (blocked !== undefined) {
    return {
      why: `UDP is blocked ${blocked}, so ${relayWord(path)}.`,
      remedy: `let UDP out of the network ${blocked === "on both sides" ? "on both sides" : blocked}`,
    };
  }
  if (theirs === undefined) return alone(path, ours);
  const possible = canLinkDirectly(ours, theirs);
  if (possible === false) {
    return {
      why: `${natWords(ours, theirs)}, so neither can tell the other where to send; ${relayWord(path)}.`,
      remedy: OPEN_A_NAT,
    };
  }
  if (isSameNat(ours, theirs)) {
    return {
      why: `Both are behind the same NAT (${ours.public[0]}), cannot reach each other inside it, and it does not turn packets round; ${relayWord(path)}.`,
      remedy: "let the two talk inside their network (client isolation off), or switch hairpinning on at the router",
    };
  }
  if (possible === undefined) {
    return {
      why: `What the NATs do is not known well enough to tell; ${relayWord(path)}${failed(ours)}.`,
      remedy: "name a STUN server with two addresses (starling stun --alternate), or two servers, and ask again",
    };
  }
  return {
    why: `By their NATs the two could be linked directly, and are not${failed(ours)}; ${relayWord(path)}.`,
    remedy:
      "it is tried again within a minute; a firewall on one of the machines or a filter on the way may stand between",
  };
}

function alone(path: PathWord, ours: Standing): Explanation {
  const kind = natKind(ours);
  const own =
    kind === "unknown"
      ? "our own NAT is not known"
      : `our own side is ${kind === "open" ? "open" : `behind a NAT that is ${kind}`}`;
  return {
    why: `The member did not answer, and ${own}; ${relayWord(path)}${failed(ours)}.`,
    remedy: "ask again from the other side (starling why), or look at both with starling netcheck",
  };
}

function blockedSide(ours: Standing, theirs: Standing | undefined): string | undefined {
  const [here, there] = [ours.udp === "blocked", theirs?.udp === "blocked"];
  if (here && there) return "on both sides";
  return here ? "on our side" : there ? "on their side" : undefined;
}

function relayWord(path: PathWord): string {
  if (path === "turn" || path === "relay") return "frames go through a relay";
  return path === "routed" ? "frames go through other members" : "there is no link";
}

function natWords(ours: Standing, theirs: Standing): string {
  const [here, there] = [natKind(ours) === "hard", natKind(theirs) === "hard"];
  if (here && there) return "Both NATs change the port with the destination";
  const side = here ? ["Our", "theirs"] : ["Their", "ours"];
  return `${side[0]} NAT changes the port with the destination and ${side[1]} lets in only the very port that it has sent to`;
}

function isSameNat(ours: Standing, theirs: Standing): boolean {
  const shared = ours.public.some((address) => theirs.public.includes(address));
  return shared && natKind(ours) !== "open" && ours.mapping !== "none";
}

function failed({ failure }: Standing): string {
  return failure === undefined ? "" : ` (the last try ended with ${failure})`;
}
