import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { RecentMap } from "../src/proto/bounded.ts";
import { concat } from "../src/proto/bytes.ts";
import type { Instant } from "../src/proto/machine.ts";
import { signalingLimits } from "../src/proto/signaling/limits.ts";
import { type ResumptionParty, resumptionBody, ticketSecret } from "../src/proto/signaling/resumption.ts";
import type { MemberClaims } from "../src/proto/trust/claims.ts";
import type { Crypto } from "../src/proto/trust/crypto.ts";
import { CLOCK_LEEWAY_MS } from "../src/proto/trust/times.ts";
import { decode, encode, type WireValue } from "../src/proto/wire/codec.ts";
import { bytesOf, integer, text } from "../src/proto/wire/shape.ts";
import type { ResumeRequest, Ticket, TicketRequest } from "./proto/events.ts";
import { TICKET_LIFE_MS, type TicketKeys } from "./ticket-keys.ts";

/** What a ticket says of the token that it stands for: enough to judge it again at each use. */
export type TicketClaims = Pick<MemberClaims, "id" | "scopes" | "issuedAt" | "notBefore" | "expiresAt"> & {
  readonly kid: string;
  readonly lineage?: { readonly family: string };
};

/**
 * Seals tickets and opens them (`src/proto/signaling/resumption.ts`). A ticket is the id of its key, a nonce, and AES-256-GCM over the
 * secret and {@link TicketClaims}, bound to cluster, peer and run. It says what a token has said whose signature held, and
 * nothing of whether that counts here and now.
 */
export class TicketOffice {
  readonly #keys: TicketKeys;
  readonly #crypto: Crypto;
  /** Of this process, so that the file of ticket keys alone does not tell what was agreed. */
  readonly #pair: ReturnType<Crypto["boxKeyPair"]>;
  /** Few members have scopes of their own: they are kept once. */
  readonly #scopes = new RecentMap<string, readonly string[]>(MAX_KNOWN_SCOPES);

  constructor(keys: TicketKeys, crypto: Crypto) {
    this.#keys = keys;
    this.#crypto = crypto;
    this.#pair = crypto.boxKeyPair();
  }

  /** A ticket for a token that holds; undefined where its scopes are too many, or the share is unusable. */
  seal(request: TicketRequest, claims: TicketClaims, now: Instant): Ticket | undefined {
    const { publicKey: share, secretKey } = this.#pair;
    const agreed = this.#crypto.agree(request.share, secretKey);
    if (agreed === undefined) return undefined;
    const endsAt = Math.floor(Math.min(now + TICKET_LIFE_MS, claims.expiresAt + CLOCK_LEEWAY_MS));
    const { kid, id, scopes, issuedAt, notBefore, expiresAt, lineage } = claims;
    const secret = ticketSecret(agreed, request.share, share);
    const says = [kid, id, scopes.join(" "), issuedAt, notBefore, expiresAt, lineage?.family ?? null];
    const { id: name, key } = this.#keys.current(now);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(boundTo(request));
    const body = cipher.update(encode([secret, endsAt, ...says]));
    cipher.final();
    const ticket = concat(name, nonce, body, cipher.getAuthTag());
    return ticket.length > signalingLimits.ticketBytes
      ? undefined
      : { share, ticket, lifeMs: Math.max(0, Math.floor(endsAt - now)) };
  }

  /** What the ticket says, if it is ours, its time is not over, and whoever shows it has its secret. */
  open(request: ResumeRequest, now: Instant): TicketClaims | undefined {
    const { ticket, at, proof } = request;
    const key = this.#keys.find(ticket.subarray(0, NAME_BYTES), now);
    if (key === undefined || ticket.length <= NAME_BYTES + NONCE_BYTES + TAG_BYTES) return undefined;
    const plain = opened(key.key, ticket, boundTo(request));
    const decoded = plain && decode(plain, { depth: 1, items: 16 });
    if (!decoded?.ok || !Array.isArray(decoded.value)) return undefined;
    const items = decoded.value as readonly WireValue[];
    const secret = bytesOf(items[0], 32);
    if (secret === undefined || !((integer(items[1]) ?? 0) > now)) return undefined;
    const due = createHmac("sha256", secret)
      .update(resumptionBody(request, ticket, at))
      .digest();
    return timingSafeEqual(due, proof) ? this.#claims(items) : undefined;
  }

  #claims([, , ...says]: readonly WireValue[]): TicketClaims | undefined {
    const [kid, id, scope] = [says[0], says[1], says[2]].map((item) => text(item, signalingLimits.tokenLength));
    const [issuedAt, notBefore, expiresAt] = [says[3], says[4], says[5]].map((item) => integer(item));
    const family = text(says[6], signalingLimits.tokenLength);
    if (kid === undefined || id === undefined || scope === undefined) return undefined;
    if (issuedAt === undefined || notBefore === undefined || expiresAt === undefined) return undefined;
    const scopes = this.#scopes.get(scope) ?? scope.split(" ");
    this.#scopes.set(scope, scopes);
    return { kid, id, scopes, issuedAt, notBefore, expiresAt, ...(family !== undefined && { lineage: { family } }) };
  }
}

const NAME_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Sets of scopes that are kept once: one for each role, and some. */
const MAX_KNOWN_SCOPES = 256;

function boundTo({ cluster, peer, instance }: Omit<ResumptionParty, "serverName">): Uint8Array {
  return encode(["starling/ticket/1", cluster, peer, instance]);
}

function opened(key: Uint8Array, ticket: Uint8Array, bound: Uint8Array): Uint8Array | undefined {
  const nonce = ticket.subarray(NAME_BYTES, NAME_BYTES + NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(bound);
  decipher.setAuthTag(ticket.subarray(-TAG_BYTES));
  const plain = decipher.update(ticket.subarray(NAME_BYTES + NONCE_BYTES, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plain;
}
