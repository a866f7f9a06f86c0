import { isAcceptablePublicKey } from "../trust/ed25519.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytesOf, integer, tuple } from "../wire/shape.ts";
import { MAX_SUCCESSIONS } from "./limits.ts";

/**
 * A succession: the root key hands over to another. The bytes that the root before it signs: [generation, public key].
 *
 * The first root, after which the cluster is named, is generation 0. The successor alone speaks as root from its first list of issuing
 * keys on. From then on there is no going back and no second heir; until then, of two that are named at a time the lower hash holds, so
 * that all members agree before either begins.
 */
export interface Succession {
  /** 1 to {@link MAX_SUCCESSIONS}. */
  readonly generation: number;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
}

export function encodeSuccession({ generation, publicKey }: Succession): Uint8Array {
  return encode([generation, publicKey]);
}

/** The opposite of {@link encodeSuccession}; undefined for anything else. Never throws. */
export function decodeSuccession(body: Uint8Array): Succession | undefined {
  const decoded = decode(body.slice(), { depth: 1, items: 3 });
  const fields = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const generation = integer(fields?.[0], 1, MAX_SUCCESSIONS);
  const publicKey = bytesOf(fields?.[1], 32)?.slice();
  if (generation === undefined || publicKey === undefined || !isAcceptablePublicKey(publicKey)) return undefined;
  return { generation, publicKey };
}
