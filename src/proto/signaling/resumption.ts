import { concat, utf8 } from "../bytes.ts";
import { hmac, sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer } from "../wire/shape.ts";
import { signalingLimits } from "./limits.ts";

/**
 * How an agent that has logged in once comes back to a signaling server without a signature: session tickets as in RFC 5077 and RFC 8446,
 * section 4.6.1.
 *
 * After a login the agent sends an X25519 key of this run, its *share*, and its token. The server answers with a share of its own and a
 * *ticket*: what it knows of the login, and a secret, sealed under a key that only it holds and that outlives its process. Both
 * sides derive the secret from the two shares, so that who listens on a `ws://` path has none of it. Nobody in the middle can put
 * another share in the place of the agent's: the agent's `instance`, which the login's signature covers, is a hash of the share.
 *
 * The next request that opens a WebSocket carries the ticket, the time by the server's clock, and an HMAC under the secret: with that
 * alone the server welcomes the agent. A ticket that is not taken, for whatever reason, costs nothing: the server sends the
 * challenge that it would have sent without. It is judged at each use by what holds then, as the token would be.
 *
 * There is no nonce, which would cost the round trip that the ticket saves. What is shown twice is found out by its time instead
 * (`signaling/proto/replays.ts`).
 */

/** The header in which a request carries a resumption, and in the answer what says that tickets are to be had. */
export const TICKET_HEADER = "starling-ticket";
export const TICKETS_OFFERED = "offered";

/** What an agent shows to come back. */
export interface Resumption {
  /** Opaque to the agent. */
  readonly ticket: Uint8Array;
  /** By the server's clock as the agent knows it, never ahead of it, whole ms. */
  readonly at: Instant;
  /** 32 bytes: {@link resumptionProof}. */
  readonly proof: Uint8Array;
}

/** Whose ticket it is, and where it is shown. */
export interface ResumptionParty {
  readonly cluster: string;
  readonly peer: PeerId;
  readonly instance: Uint8Array;
  readonly serverName: string;
}

/** Names a run of an agent, 16 bytes, so that nobody finds another share for the same name. */
export function instanceOf(share: Uint8Array): Uint8Array {
  return sha256(concat(utf8("starling/instance/1\0"), share)).slice(0, signalingLimits.instanceBytes);
}

/** The secret of a ticket, 32 bytes, from the key that the two shares agree on. */
export function ticketSecret(agreed: Uint8Array, agentShare: Uint8Array, serverShare: Uint8Array): Uint8Array {
  return hmac(sha256, agreed, concat(utf8("starling/ticket/1\0"), agentShare, serverShare));
}

/** What the proof of a resumption covers: of the ticket its end, which is the tag of a seal over all of it. */
export function resumptionBody(
  { cluster, peer, instance, serverName }: ResumptionParty,
  ticket: Uint8Array,
  at: Instant,
): Uint8Array {
  return encode(["starling/resume/1", serverName, cluster, peer, instance, at, ticket.subarray(-TAG_BYTES)]);
}

const TAG_BYTES = 16;

/** Proves that who shows a ticket has its secret. */
export function resumptionProof(secret: Uint8Array, body: Uint8Array): Uint8Array {
  return hmac(sha256, secret, body);
}

/** A resumption as bytes, which travel as base64url in {@link TICKET_HEADER}. */
export function encodeResumption({ ticket, at, proof }: Resumption): Uint8Array {
  return encode([ticket, at, proof]);
}

/** Reads such bytes; undefined for any others. Byte strings in the result are views of `raw`. Never throws. */
export function decodeResumption(raw: Uint8Array): Resumption | undefined {
  if (raw.length > signalingLimits.resumptionBytes) return undefined;
  const decoded = decode(raw, { depth: 1, items: 4 });
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  const items = decoded.value as readonly WireValue[];
  const ticket = bytes(items[0], signalingLimits.ticketBytes);
  const at = integer(items[1]);
  const proof = bytesOf(items[2], 32);
  if (items.length !== 3 || !ticket?.length || at === undefined || proof === undefined) return undefined;
  return { ticket, at, proof };
}
