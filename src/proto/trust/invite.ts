import { assert } from "../assert.ts";
import { base64url, fromBase64url } from "../base64.ts";
import { equalBytes } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { MAX_NAME_LENGTH, MAX_TOKEN_LENGTH } from "../limits.ts";
import type { IceServer } from "../negotiation/rtc.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, list, text, tuple } from "../wire/shape.ts";
import {
  type Cluster,
  isClusterName,
  isIceUrl,
  isSignalingUrl,
  MAX_ICE_SERVERS,
  MAX_ICE_TEXT_LENGTH,
  MAX_ICE_URLS,
  MAX_KEYRING,
  MAX_SIGNALING_URLS,
  MAX_URL_LENGTH,
} from "./cluster.ts";
import { clusterIdOf } from "./cluster-id.ts";
import { isAcceptablePublicKey } from "./ed25519.ts";
import { decodeSignedIssuers, encodeSignedIssuers, MAX_SIGNED_ISSUERS_BYTES } from "./issuers.ts";
import { KEY_BYTES, keyWeakness } from "./key-strength.ts";

/**
 * An invite: one line of text with everything that a newcomer needs, pasted from one terminal into another.
 *
 *     starling1-  base64url( length: u16 | checksum: 4 bytes | body )
 *
 * `body` is a msgpack array; the checksum is the beginning of its SHA-256. Length and checksum come first, so that a
 * paste that was cut off and one that was garbled are told apart, and told from one of another version. They guard
 * against accidents only. What is trusted is whoever hands over the invite: it brings the root's public key, from which
 * everything else can be checked, and the secrets that only members share. It is a secret for as long as the epoch of the
 * cluster key that it carries.
 *
 * White space is ignored wherever it stands (terminals and mail programs break long lines); all else is strict.
 */

/** What an invite says. It carries the newest cluster key only. */
export interface Invite {
  readonly cluster: Cluster;
  /**
   * `join`: exchanged at an issuer for a member token. `member`: made for one node key (`invite --for`). `none`: the newcomer has
   * another way in (an API key, a login).
   */
  readonly token: { readonly kind: "join" | "member"; readonly text: string } | { readonly kind: "none" };
}

/** Why a text is no invite. */
export type InviteFault =
  | "not-an-invite"
  | "other-version"
  | "too-long"
  | "truncated"
  | "altered"
  | "malformed"
  | "weak-key";

/** What {@link parseInvite} found. */
export type InviteResult =
  | { readonly ok: true; readonly invite: Invite }
  | { readonly ok: false; readonly fault: InviteFault };

/** The body, bytes: full lists of issuers and servers, and a token. */
const MAX_INVITE_BYTES = 49_152;
/** The text with its white space, characters. */
export const MAX_INVITE_LENGTH = 80_000;

const PREFIX = "starling1-";
const HEADER_LENGTH = 8;
const LIMITS = { depth: 5, items: 512 };

/** The text of an invite. The caller gives valid parts; an invalid one is a bug and throws. */
export function encodeInvite(invite: Invite): string {
  const { cluster, token } = invite;
  const newest = cluster.clusterKeys[0];
  assert(newest !== undefined, "a cluster has at least one key");
  const body = encode([
    cluster.name,
    cluster.rootPublicKey,
    encodeSignedIssuers(cluster.issuers),
    newest.epoch,
    newest.key,
    cluster.keyring,
    cluster.signaling,
    cluster.iceServers.map((server) => [
      typeof server.urls === "string" ? [server.urls] : server.urls,
      server.username ?? null,
      server.credential ?? null,
    ]),
    token.kind === "none" ? null : token.kind === "join",
    token.kind === "none" ? "" : token.text,
  ]);
  const header = new Uint8Array(6);
  new DataView(header.buffer).setUint16(0, body.length);
  header.set(sha256(body).subarray(0, 4), 2);
  const invitation = PREFIX + base64url(header) + base64url(body);
  assert(parseInvite(invitation).ok, "an invite is made of valid parts");
  return invitation;
}

/** Reads an invite. Never throws. The list of issuers in it is not verified yet: see `acceptIssuers`. */
export function parseInvite(pasted: string): InviteResult {
  if (pasted.length > MAX_INVITE_LENGTH) return refuse("too-long");
  const invitation = pasted.replace(/\s+/g, "");
  if (!invitation.startsWith(PREFIX)) return refuse(prefixFault(invitation));
  if (invitation.length < PREFIX.length + HEADER_LENGTH) return refuse("truncated");
  const header = fromBase64url(invitation.slice(PREFIX.length, PREFIX.length + HEADER_LENGTH));
  if (header === undefined) return refuse("altered");
  const length = new DataView(header.buffer).getUint16(0);
  if (length > MAX_INVITE_BYTES) return refuse("altered");
  const rest = invitation.slice(PREFIX.length + HEADER_LENGTH);
  const expectedLength = Math.ceil((length * 4) / 3);
  if (rest.length < expectedLength) return refuse("truncated");
  const body = rest.length === expectedLength ? fromBase64url(rest) : undefined;
  if (body === undefined || !equalBytes(sha256(body).subarray(0, 4), header.subarray(2))) return refuse("altered");
  return parseBody(body);
}

/** What is wrong with an invite and what to do, one sentence. */
export function describeInviteFault(fault: InviteFault): string {
  switch (fault) {
    case "not-an-invite":
      return `this is not an invite: one begins with ${PREFIX} and is printed by \`starling invite\``;
    case "other-version":
      return "the invite is for another version of Starling; install the version of the machine that made it";
    case "too-long":
      return "the text is too long for an invite; paste the one line that `starling invite` prints";
    case "truncated":
      return "the invite is cut off; copy the whole line, or use `--invite-file`";
    case "altered":
      return "the invite was altered on its way; copy it again, or use `--invite-file`";
    case "malformed":
      return "the invite does not hold what an invite must; make a new one with `starling invite`";
    case "weak-key":
      return "the invite carries a key that is published or not random; renew the cluster's keys and invite again";
  }
}

// A text that is the beginning of the prefix was cut off before it had a version.
function prefixFault(invitation: string): InviteFault {
  if (invitation.length >= 4 && PREFIX.startsWith(invitation)) return "truncated";
  return /^starling\d+-/.test(invitation) ? "other-version" : "not-an-invite";
}

function parseBody(body: Uint8Array): InviteResult {
  const decoded = decode(body, LIMITS);
  const fields = decoded.ok ? tuple(decoded.value, 10) : undefined;
  const name = text(fields?.[0], MAX_NAME_LENGTH);
  const rootPublicKey = bytesOf(fields?.[1], 32)?.slice();
  const signed = bytes(fields?.[2], MAX_SIGNED_ISSUERS_BYTES);
  const issuers = signed === undefined ? undefined : decodeSignedIssuers(signed);
  const epoch = integer(fields?.[3], 1, 0xffff_ffff);
  const key = bytesOf(fields?.[4], KEY_BYTES)?.slice();
  const keyring = list(fields?.[5], MAX_KEYRING, (item) => bytesOf(item, KEY_BYTES)?.slice());
  const signaling = list(fields?.[6], MAX_SIGNALING_URLS, signalingUrl);
  const iceServers = list(fields?.[7], MAX_ICE_SERVERS, iceServer);
  if (name === undefined || !isClusterName(name) || rootPublicKey === undefined || issuers === undefined)
    return refuse("malformed");
  if (epoch === undefined || key === undefined || keyring === undefined || keyring.length === 0) {
    return refuse("malformed");
  }
  const token = tokenIn(fields?.[8], fields?.[9]);
  if (signaling === undefined || iceServers === undefined || token === undefined) return refuse("malformed");
  if (!isAcceptablePublicKey(rootPublicKey)) return refuse("malformed");
  if ([key, ...keyring].some((secret) => keyWeakness(secret) !== undefined)) return refuse("weak-key");
  const clusterKeys = [{ epoch, key }];
  const clusterId = clusterIdOf(rootPublicKey);
  const cluster = { clusterId, name, rootPublicKey, issuers, clusterKeys, keyring, signaling, iceServers };
  return { ok: true, invite: { cluster, token } };
}

function tokenIn(isJoin: WireValue | undefined, value: WireValue | undefined): Invite["token"] | undefined {
  const token = text(value, MAX_TOKEN_LENGTH);
  if (isJoin === null) return token === "" ? { kind: "none" } : undefined;
  return token && typeof isJoin === "boolean" ? { kind: isJoin ? "join" : "member", text: token } : undefined;
}

function signalingUrl(value: WireValue): string | undefined {
  const url = text(value, MAX_URL_LENGTH);
  return url !== undefined && isSignalingUrl(url) ? url : undefined;
}

function iceServer(value: WireValue): IceServer | undefined {
  const fields = tuple(value, 3);
  const urls = list(fields?.[0], MAX_ICE_URLS, (item) => {
    const url = text(item, MAX_ICE_TEXT_LENGTH);
    return url !== undefined && isIceUrl(url) ? url : undefined;
  });
  const username = optionalText(fields?.[1]);
  const credential = optionalText(fields?.[2]);
  if (urls === undefined || urls.length === 0 || username === undefined || credential === undefined) return undefined;
  return {
    urls,
    ...(username === null ? {} : { username }),
    ...(credential === null ? {} : { credential }),
  };
}

function optionalText(value: WireValue | undefined): string | null | undefined {
  return value === null ? null : text(value, MAX_ICE_TEXT_LENGTH);
}

function refuse(fault: InviteFault): InviteResult {
  return { ok: false, fault };
}
