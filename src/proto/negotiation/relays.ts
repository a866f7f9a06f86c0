import { compareBytes, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { PeerId } from "../peer-id.ts";
import type { IceGrant } from "../signaling/messages.ts";
import { mayDo } from "../trust/rights.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { integer, list, text, tuple } from "../wire/shape.ts";
import { parseIceUrl } from "./ice-url.ts";

/**
 * Members that relay for others: how they are found, chosen and asked.
 *
 * A member that runs a STUN and TURN server says so by a label in its signed record. The label alone would let anybody draw
 * connections to itself, so it counts only where the member's token grants the scope `relay`. Each member uses two: those that come
 * first when all are ordered by a hash over both ids, which spreads members over relays and moves few when one comes or goes. The grant,
 * a credential in the asker's name, travels over the link to the relay, which nobody else reads.
 */

/** The label by which a relay is found; its value is the `address:port` by which it is reached. */
export const RELAY_LABEL = "starling.relay";
/** Relays that one member uses: a second one for when the first is down. */
export const RELAYS_USED = 2;

/** A member, as far as this choice goes. */
export interface RelayCandidate {
  readonly id: PeerId;
  readonly isAlive: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly scopes: readonly string[];
}

/** A relay, and the `address:port` that its record names. */
export interface RelayMember {
  readonly id: PeerId;
  readonly address: string;
}

/** The relays that `self` uses, the first choice first. */
export function chooseRelays(self: PeerId, members: Iterable<RelayCandidate>): readonly RelayMember[] {
  const ranked: (RelayMember & { readonly rank: Uint8Array })[] = [];
  for (const { id, isAlive, labels, scopes } of members) {
    const address = Object.hasOwn(labels, RELAY_LABEL) ? labels[RELAY_LABEL] : undefined;
    if (id === self || !isAlive || address === undefined || !mayDo(scopes, "relay")) continue;
    ranked.push({ id, address, rank: sha256(utf8(`${self} ${id}`)) });
  }
  ranked.sort((one, other) => compareBytes(one.rank, other.rank));
  return ranked.slice(0, RELAYS_USED).map(({ id, address }) => ({ id, address }));
}

/** Bounds of a grant on the wire. */
const MAX_URLS = 8;
const MAX_TEXT = 512;

/** A grant as a relay sends it. */
export function encodeRelayGrant({ urls, username = "", credential = "", expiresAt = 0 }: IceGrant): Uint8Array {
  return encode([1, urls, username, credential, Math.round(expiresAt)]);
}

/**
 * The grant in a relay's message; undefined when it is none. Its servers must be at the address in the relay's own signed record: a
 * relay does not get to choose where else members send requests. Never throws.
 */
export function decodeRelayGrant(message: Uint8Array, address: string): IceGrant | undefined {
  const decoded = decode(message, { depth: 2, items: 5 + MAX_URLS });
  const items = decoded.ok ? tuple(decoded.value, 5) : undefined;
  const urls = list(items?.[1], MAX_URLS, (value) => urlAt(value, address));
  const username = text(items?.[2], MAX_TEXT);
  const credential = text(items?.[3], MAX_TEXT);
  const expiresAt = integer(items?.[4], 1);
  if (items?.[0] !== 1 || urls === undefined || urls.length === 0) return undefined;
  if (!username || !credential || expiresAt === undefined) return undefined;
  return { urls, username, credential, expiresAt };
}

function urlAt(value: WireValue, address: string): string | undefined {
  const url = text(value, MAX_TEXT);
  const at = url === undefined ? undefined : parseIceUrl(url);
  if (typeof at !== "object") return undefined;
  const host = at.host.includes(":") ? `[${at.host}]` : at.host;
  return `${host}:${at.port}` === address ? url : undefined;
}
