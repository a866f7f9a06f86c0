import { concat, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { FrameKind } from "../wire/frame-kind.ts";

/**
 * How a session goes on over another channel.
 *
 * A session is named by the admission that began it: both sides derive its id from that transcript, so it stands for two
 * identities, two starts of two processes and two nonces, and nobody chooses it. A side that holds a session with the peer
 * it expects states the id in its hello. When both state the same, and the peer's X25519 key of this start is still the one
 * of the session, the session goes on: each *ready* then says how many numbered frames its sender has, and whether its mesh
 * took the link for down. In every other case a new session begins, and what either side held is over.
 *
 * The id is no secret and proves nothing: it travels in the hello, which the transcript covers, and counts for nothing
 * before the whole of admission has been passed on the certificates of this very channel.
 */

/** A session that a side holds, and would go on with. */
export interface HeldSession {
  /** {@link sessionIdOf} its first admission, 16 bytes. */
  readonly id: Uint8Array;
  /** The peer's X25519 key of the start that began it, 32 bytes. */
  readonly boxKey: Uint8Array;
  /** What this side has of it at the moment; undefined when it has ended since. */
  progress(): Progress | undefined;
}

/** Where one side stands. */
export interface Progress {
  /** Numbered frames received since the session began. */
  readonly received: number;
  /** Its mesh took the link for down since the last channel. */
  readonly cut: boolean;
}

/** The session of a peer that has been admitted. */
export interface AdmittedSession {
  /** 16 bytes. */
  readonly id: Uint8Array;
  /** Where the peer stands in a session that goes on, `cut` if either side is; absent when the session begins. */
  readonly resumed?: Progress;
}

/** Length of a session's id, bytes. */
export const SESSION_ID_BYTES = 16;

/** The id of the session that an admission with this transcript begins. */
export function sessionIdOf(transcript: Uint8Array): Uint8Array {
  return sha256(concat(utf8("starling/session/1"), transcript)).slice(0, SESSION_ID_BYTES);
}

/** The ready frame: its kind alone, or with where we stand in the session that goes on. */
export function encodeReady(progress?: Progress): Uint8Array {
  if (progress === undefined) return Uint8Array.of(FrameKind.ready);
  const frame = new Uint8Array(RESUMING_READY_BYTES);
  frame[0] = FrameKind.ready;
  frame[1] = progress.cut ? 1 : 0;
  let rest = progress.received;
  for (let at = frame.length - 1; at >= 2; at--) {
    frame[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return frame;
}

/** Reads a ready frame, of a session that goes on or not; undefined when it has another form. */
export function parseReady(frame: Uint8Array, resumes: boolean): Progress | undefined {
  if (!resumes) return frame.length === 1 ? { received: 0, cut: false } : undefined;
  const cut = frame[1];
  if (frame.length !== RESUMING_READY_BYTES || (cut !== 0 && cut !== 1)) return undefined;
  let received = 0;
  for (const byte of frame.subarray(2)) received = received * 256 + byte;
  return { received, cut: cut === 1 };
}

/** Kind, cut, and a count of 48 bits: 280 years of a million frames a second. */
const RESUMING_READY_BYTES = 8;
