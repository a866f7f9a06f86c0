import { equalBytes } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import { CLOCK_LEEWAY_MS } from "./times.ts";

/**
 * The line of renewals that a member token stands in, and what an issuer makes of one that is shown for the next.
 *
 * The tokens that were renewed from one another are a *family*, named by the id of its first. Each names a *refresh key*: the
 * Ed25519 key whose signature its renewal needs, beside that of the node key. The member makes it, keeps it on its disk before it
 * asks, and uses it for one renewal, in which it names the key of the next one (as in the pre-rotation of KERI): the refresh
 * credential rotates with every token (RFC 9700, section 2.2.2), and no server, member or issuer ever holds one.
 *
 * A lost answer costs nothing: whoever asks again names the same next key, and gets a token that names it again, until that
 * key is first used. Two holders of one credential, of which one has copied the other's state, cannot go on side by side: each makes
 * a next key of its own, and the issuer that sees the second knows that the credential was stolen. What it cannot tell is which of
 * the two is the thief: the whole family ends.
 *
 * Because the token itself says where its line stands, any issuer goes on where another one has stopped, with nothing shared
 * between them. What one issuer has not seen it cannot hold against a token: it compares with its own journal and, where it is a
 * member, with the token in the member's record.
 */
export interface Lineage {
  /** The id (`jti`) of the first token. */
  readonly family: string;
  /** 0 for the first; rises by one with each renewal. */
  readonly generation: number;
  /** Ed25519, 32 bytes: signs for the next renewal. Undefined for a first token that was made without the node at hand. */
  readonly refreshKey: Uint8Array | undefined;
  readonly issuedAt: Instant;
}

/** A renewal every second for 68 years. */
export const MAX_GENERATION = 0x7fff_ffff;

/** What a request for a renewal names beside its token. */
export interface Successor {
  /** The refresh key of the token that is asked for. */
  readonly nextKey: Uint8Array;
  /** When it was signed, by the asker's clock. */
  readonly at: Instant;
}

/** What an issuer makes of a request. The later in this list the graver. */
export type RenewalRuling =
  /** The next of its line. */
  | "next"
  /** It was answered before, and the answer may have been lost: the same again. */
  | "again"
  /** Older than what was issued since: late, or replayed by whoever carried it. No answer, and nobody's fault. */
  | "stale"
  /** Signed after another one had taken the place of this token: two hold its refresh key. */
  | "reused";

/** Rules on `shown`, whose signatures hold, given the newest of its family that is `known`. Pure. */
export function ruleRenewal(known: Lineage | undefined, shown: Lineage, { nextKey, at }: Successor): RenewalRuling {
  if (known === undefined || shown.generation > known.generation) return "next";
  if (shown.generation === known.generation) {
    // Two tokens of one generation under different keys are themselves the proof: an honest member names one next key.
    return sameKey(shown.refreshKey, known.refreshKey) ? "next" : "reused";
  }
  if (shown.generation === known.generation - 1 && sameKey(nextKey, known.refreshKey)) return "again";
  // Who carries a request can hand it over late or twice; only what was signed later than the newest token is reuse.
  return at > known.issuedAt + CLOCK_LEEWAY_MS ? "reused" : "stale";
}

const GRAVITY: readonly RenewalRuling[] = ["next", "again", "stale", "reused"];

/** The graver of two rulings. */
export function graver(one: RenewalRuling, other: RenewalRuling): RenewalRuling {
  return GRAVITY.indexOf(one) >= GRAVITY.indexOf(other) ? one : other;
}

function sameKey(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return equalBytes(one, other);
}
