import { fromBase64url } from "../base64.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, parsePeerId, publicKeyOf } from "../peer-id.ts";
import { MAX_MEMBER_LIFE_MS, RENEWAL_GRACE_MS } from "../trust/claims.ts";
import { isTime } from "../trust/times.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytesOf, integer, peer, text, tuple } from "../wire/shape.ts";

/**
 * A revocation: a token, a member or an issuing key is void.
 *
 * - *member*: its node key is out for good, whatever tokens it holds; what it signs from `since` on counts for nothing. There is
 *   no way back: a machine that was revoked by mistake joins with a new key.
 * - *token*: this token is void, a member's or a join token, and if it is the first of its line all that were renewed from it
 *   (`trust/lineage.ts`); the member may get another.
 * - *issuer*: every token of this issuing key is void, and it makes no rotation. What it has revoked stays revoked.
 *
 * The bytes that are signed: [target kind, target, since, until]. Of a token the revocation is kept until the token could not even buy a renewal.
 */
export interface Revocation {
  readonly target: RevocationTarget;
  readonly since: Instant;
  /** From here on nothing of it can matter; 0: never. Only for tokens. */
  readonly until: Instant;
}

export type RevocationTarget =
  | { readonly of: "member"; readonly peer: PeerId }
  /** `id`: its `jti`, 22 characters. */
  | { readonly of: "token"; readonly id: string }
  | { readonly of: "issuer"; readonly kid: string };

/** The longest time for which a token's revocation can matter, ms. */
export const MAX_TOKEN_MATTERS_MS = MAX_MEMBER_LIFE_MS + RENEWAL_GRACE_MS;

const KINDS = ["member", "token", "issuer"] as const;
const KID = /^[a-z2-7]{16}$/;

/** What `text` names: a PeerId, a token's `jti` or an issuing key's `kid`; undefined when it is none of them. */
export function parseTarget(text: string): RevocationTarget | undefined {
  const id = parsePeerId(text);
  if (id !== undefined) return { of: "member", peer: id };
  if (KID.test(text)) return { of: "issuer", kid: text };
  return text.length === 22 && fromBase64url(text)?.length === 16 ? { of: "token", id: text } : undefined;
}

/** The text that {@link parseTarget} reads back. */
export function targetText(target: RevocationTarget): string {
  if (target.of === "member") return target.peer;
  return target.of === "token" ? target.id : target.kid;
}

export function encodeRevocation({ target, since, until }: Revocation): Uint8Array {
  const named = target.of === "member" ? publicKeyOf(target.peer) : targetText(target);
  return encode([KINDS.indexOf(target.of), named, Math.floor(since), Math.floor(until)]);
}

/** The opposite of {@link encodeRevocation}; undefined for anything else. Never throws. */
export function decodeRevocation(body: Uint8Array): Revocation | undefined {
  const decoded = decode(body.slice(), { depth: 1, items: 5 });
  const fields = decoded.ok ? tuple(decoded.value, 4) : undefined;
  const kind = KINDS[integer(fields?.[0], 0, 2) ?? 3];
  const since = integer(fields?.[2]);
  const until = integer(fields?.[3]);
  const target = kind === "member" ? memberTarget(fields?.[1]) : namedTarget(kind, text(fields?.[1], 22));
  if (target === undefined || since === undefined || until === undefined || !isTime(since)) return undefined;
  if (target.of === "token" ? until <= since || until > since + MAX_TOKEN_MATTERS_MS : until !== 0) return undefined;
  return { target, since, until };
}

function memberTarget(value: Parameters<typeof peer>[0]): RevocationTarget | undefined {
  const id = bytesOf(value, 32) && peer(value);
  return id && { of: "member", peer: id };
}

function namedTarget(kind: "token" | "issuer" | undefined, name: string | undefined): RevocationTarget | undefined {
  const target = name === undefined ? undefined : parseTarget(name);
  return target?.of === kind ? target : undefined;
}
