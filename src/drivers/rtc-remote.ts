import { isIP } from "node:net";
import type { CandidateSummary } from "../proto/negotiation/rtc.ts";
import { isCandidate, parseSdp } from "../proto/negotiation/sdp.ts";

/**
 * What a peer's descriptions and candidates must look like before a stack of this process sees them.
 *
 * Both stacks resolve the names in candidates, so every candidate with a name is dropped: the peer does not get to choose
 * what we look up. That includes the `.local` names of browsers (RFC 8828), for each of which werift waits up to 10 s.
 */

/** Which candidates of a peer count. */
export interface CandidateRules {
  /** Lets `.local` names through, for the stack to resolve. Default false. */
  readonly keepLocalNames?: boolean;
  /** Lets only relayed candidates through. Default false. */
  readonly onlyRelays?: boolean;
}

/** Candidates that one peer may send for one connection: a machine has a few addresses, and each costs a check per pair. */
export const MAX_REMOTE_CANDIDATES = 64;

/** The text for the stack, or why the description does not reach it. */
export type RemoteDescription =
  | { readonly ok: true; readonly sdp: string }
  | { readonly ok: false; readonly fault: string };

/** Checks a peer's description and drops the candidates that {@link summarise} does not accept, or that are too many. */
export function remoteDescription(
  sdp: string,
  kind: "offer" | "answer",
  rules: CandidateRules = {},
): RemoteDescription {
  const parsed = parseSdp(sdp);
  if (!parsed.ok) return { ok: false, fault: `unusable ${kind}: ${parsed.fault}` };
  const newline = sdp.includes("\r\n") ? "\r\n" : "\n";
  let candidates = 0;
  const lines = sdp.split(newline).filter((line) => {
    if (!line.startsWith("a=candidate:")) return true;
    return isUsable(line.slice(2), "0", rules) && ++candidates <= MAX_REMOTE_CANDIDATES;
  });
  return { ok: true, sdp: lines.join(newline) };
}

/**
 * Makes an answerer take the passive DTLS role, by reading `actpass` as `active`: RFC 8842, section 5.3 leaves it the choice.
 * ICE connects on the controlled side first, so a passive answerer is ready when the offerer's first flight arrives. The
 * other way round that flight is lost in every sixth connection, and libdatachannel repeats it a second later.
 */
export function takePassiveRole(offer: string): string {
  return offer.replace(/^a=setup:actpass(?=\r?$)/gm, "a=setup:active");
}

/** Candidates of one peer on their way to the stack: checked, counted, and kept until the description has been applied. */
export class CandidateInbox {
  readonly #rules: CandidateRules;
  readonly #add: (candidate: string, mid: string) => void;
  readonly #offered = new Map<string, CandidateSummary>();
  #early: [candidate: string, mid: string][] | undefined = [];
  #count = 0;

  /** @param add hands one candidate to the stack. */
  constructor(rules: CandidateRules, add: (candidate: string, mid: string) => void) {
    this.#rules = rules;
    this.#add = add;
  }

  /** Takes one candidate; unusable ones, and those beyond {@link MAX_REMOTE_CANDIDATES}, are dropped. */
  take(candidate: string, mid: string): void {
    if (this.#count >= MAX_REMOTE_CANDIDATES || !isUsable(candidate, mid, this.#rules)) return;
    this.#count++;
    const offered = summarise(candidate, this.#rules.keepLocalNames);
    if (offered !== undefined) this.#offered.set(offered.address, offered);
    if (this.#early !== undefined) this.#early.push([candidate, mid]);
    else this.#add(candidate, mid);
  }

  /**
   * The peer's own word on a candidate of it. Where a check overtakes the candidate that it came from, a stack takes that for
   * peer-reflexive, and never learns that it is a relay's.
   */
  named(remote: CandidateSummary): CandidateSummary {
    return (remote.kind === "prflx" ? this.#offered.get(remote.address) : undefined) ?? remote;
  }

  /** The description has been applied: hands on what is kept and what comes. */
  open(): void {
    for (const [candidate, mid] of this.#early ?? []) this.#add(candidate, mid);
    this.#early = undefined;
  }
}

/** Whether a peer's candidate may reach the stack: well-formed, an address rather than a name, and of a kind that counts. */
export function isUsable(candidate: string, mid: string, rules: CandidateRules = {}): boolean {
  if (!isCandidate(candidate, mid)) return false;
  const found = summarise(candidate, rules.keepLocalNames);
  return found !== undefined && (found.kind === "relay" || !rules.onlyRelays);
}

const CANDIDATE =
  /^candidate:\S{1,64} 1 (?:udp|tcp) \d{1,10} ([0-9a-f.:]{2,45}|[0-9a-z-]{1,63}\.local) (\d{1,5}) typ (host|srflx|prflx|relay)(?: |$)/i;

/** Kind and address of a candidate line (RFC 8839, section 5.1); undefined when it is none or names a host. */
export function summarise(candidate: string, keepLocalNames = false): CandidateSummary | undefined {
  const [, address, port, kind] = CANDIDATE.exec(candidate) ?? [];
  if (address === undefined || kind === undefined) return undefined;
  if (Number(port) === 0 || Number(port) > 65_535) return undefined;
  if (isIP(address) === 0 && !(keepLocalNames && address.endsWith(".local"))) return undefined;
  return summaryOf(kind.toLowerCase(), address, Number(port));
}

/** A candidate in our words; a type that is not one of RFC 8839's counts as `host`. */
export function summaryOf(type: string, address: string, port: number): CandidateSummary {
  const kind = type === "srflx" || type === "prflx" || type === "relay" ? type : "host";
  return { kind, address: addressText(address, port) };
}

/** `address:port`, IPv6 in brackets. */
export function addressText(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
