import type { MemberPath } from "./status.ts";

/**
 * What `agent.why()` returns and `starling why --json` prints. Stable: fields are added, never renamed or removed. Times are
 * milliseconds.
 */
export interface WhyReport {
  readonly peer: string;
  /** How frames travel to it now. */
  readonly path: MemberPath;
  /** The WebRTC stack that carries the link; null without one. */
  readonly rtc: string | null;
  readonly ours: PathAccount;
  /** Null when it did not answer; `theirError` says why. */
  readonly theirs: PathAccount | null;
  readonly theirError: string | null;
  /** Why the path is what it is, in a sentence. */
  readonly why: string;
  /** What would make it direct; null when it is, or when nothing would. */
  readonly remedy: string | null;
}

/** What one side knows. */
export interface PathAccount {
  readonly udp: "open" | "blocked" | "unknown";
  readonly mapping: string;
  readonly filtering: string;
  /** `open`, `easy`, `hard`, `blocked` or `unknown`. */
  readonly nat: string;
  /** The addresses by which servers see it; IPv4, then IPv6. */
  readonly public: readonly string[];
  /** Whether some TURN server lends it an address. */
  readonly relay: boolean;
  /** Its last dial with the other: every connection tried, oldest first. */
  readonly rounds: readonly RoundAccount[];
  /** Since that dial ended; null when none is remembered. */
  readonly sinceMs: number | null;
}

export interface RoundAccount {
  readonly role: "dialer" | "answerer";
  /** `udp`, `tcp` or `tls`: the way to the TURN server; `direct`: without one. */
  readonly rung: string;
  readonly tookMs: number;
  /** `kind address:port` of what each side offered. */
  readonly local: readonly string[];
  readonly remote: readonly string[];
  /** Where and why it failed, such as `ice: timeout`; null when it became the link. */
  readonly failure: string | null;
}
