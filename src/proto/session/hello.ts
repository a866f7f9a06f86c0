import { concat } from "../bytes.ts";
import { MAX_HELLO_BYTES, MAX_TOKEN_LENGTH } from "../limits.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { FrameKind } from "../wire/frame-kind.ts";
import { bytesOf, integer, list, peer, text } from "../wire/shape.ts";
import { SESSION_ID_BYTES } from "./resumption.ts";

/**
 * The first two frames of admission as bytes.
 *
 * A hello is its kind byte and a msgpack array: lowest and highest version spoken, PeerId, nonce, member token, X25519 key
 * of this start, cluster-key epoch, extensions. The two version fields keep their place in every future version, so a side
 * that shares no version with us can still be told so. Extensions is a list of anything; items that a version does not know
 * are ignored but, as part of the hello's bytes, proven all the same. One is known: `["session", id]` offers to go on with a
 * session. A proof is its kind byte, 64 bytes of signature, 32 bytes of MAC. A ready is in `resumption.ts`.
 */

/** The versions of the link protocol that this code speaks. */
export const LINK_VERSIONS: VersionRange = { least: 1, most: 1 };

/** A range of versions, both ends included. */
export interface VersionRange {
  readonly least: number;
  readonly most: number;
}

export interface Hello {
  readonly versions: VersionRange;
  readonly id: PeerId;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  /** The member token, at most 4,096 characters. */
  readonly token: string;
  /** X25519 public key of this start, 32 bytes. */
  readonly boxKey: Uint8Array;
  /** Epoch of the cluster key with which this side makes its MAC. */
  readonly epoch: number;
  /** The session that this side holds with whom it expects, 16 bytes. */
  readonly session?: Uint8Array | undefined;
}

/** The proof of one side. */
export interface Proof {
  /** 64 bytes. */
  readonly signature: Uint8Array;
  /** 32 bytes. */
  readonly mac: Uint8Array;
}

const SESSION_EXTENSION = "session";

const helloLimits = {
  version: 65_535,
  /** Epochs are counted, one per rotation of the cluster key. */
  epoch: 4_294_967_295,
  /** Extensions of one hello: version 1 sends one at most. */
  extensions: 16,
  scan: { depth: 4, items: 128 },
};

/** The hello frame. */
export function encodeHello(hello: Hello): Uint8Array {
  const body = encode([
    hello.versions.least,
    hello.versions.most,
    publicKeyOf(hello.id),
    hello.nonce,
    hello.token,
    hello.boxKey,
    hello.epoch,
    hello.session === undefined ? [] : [[SESSION_EXTENSION, hello.session]],
  ]);
  return concat(Uint8Array.of(FrameKind.hello), body);
}

/** What a hello frame says to a side that speaks certain versions. */
export type ParsedHello =
  | { readonly ok: true; readonly hello: Hello /** The version to speak. */; readonly version: number }
  | { readonly ok: false; readonly reason: "oversized" | "malformed" | "version-mismatch" };

/** Reads a hello frame, and its versions before all else: the rest of a foreign version may be unreadable. Never throws. */
export function parseHello(frame: Uint8Array, spoken: VersionRange): ParsedHello {
  if (frame.length > MAX_HELLO_BYTES) return { ok: false, reason: "oversized" };
  const decoded = decode(frame.subarray(1), helloLimits.scan);
  if (!decoded.ok || !Array.isArray(decoded.value)) return { ok: false, reason: "malformed" };
  const items: readonly WireValue[] = decoded.value;
  const least = integer(items[0], 1, helloLimits.version);
  const most = integer(items[1], least, helloLimits.version);
  if (least === undefined || most === undefined) return { ok: false, reason: "malformed" };
  const versions = { least, most };
  const version = commonVersion(spoken, versions);
  if (version === undefined) return { ok: false, reason: "version-mismatch" };
  const id = peer(items[2]);
  const nonce = bytesOf(items[3], 32);
  const token = text(items[4], MAX_TOKEN_LENGTH);
  const boxKey = bytesOf(items[5], 32);
  const epoch = integer(items[6], 0, helloLimits.epoch);
  const extensions = list(items[7], helloLimits.extensions, (item) => item);
  const shaped = items.length === 8 && extensions !== undefined;
  if (!shaped || !id || !nonce || token === undefined || !boxKey || epoch === undefined) {
    return { ok: false, reason: "malformed" };
  }
  // Copies: the peer's key lives as long as the link, the frame's buffer need not.
  const hello = {
    versions,
    id,
    nonce: nonce.slice(),
    token,
    boxKey: boxKey.slice(),
    epoch,
    session: sessionIn(extensions),
  };
  return { ok: true, hello, version };
}

/** The first session that is offered; one in another form is an extension that we do not know. */
function sessionIn(extensions: readonly WireValue[]): Uint8Array | undefined {
  for (const extension of extensions) {
    const id =
      Array.isArray(extension) && extension[0] === SESSION_EXTENSION
        ? bytesOf(extension[1], SESSION_ID_BYTES)
        : undefined;
    if (id !== undefined) return id.slice();
  }
  return undefined;
}

/** The highest version in both ranges; undefined when there is none. */
export function commonVersion(a: VersionRange, b: VersionRange): number | undefined {
  const highest = Math.min(a.most, b.most);
  return highest >= Math.max(a.least, b.least) ? highest : undefined;
}

/** The proof frame, 97 bytes. */
export function encodeProof(proof: Proof): Uint8Array {
  return concat(Uint8Array.of(FrameKind.proof), proof.signature, proof.mac);
}

/** The proof in a frame; undefined when its length is wrong. */
export function parseProof(frame: Uint8Array): Proof | undefined {
  if (frame.length !== 97) return undefined;
  return { signature: frame.slice(1, 65), mac: frame.slice(65) };
}
