import type { Instant } from "../machine.ts";
import { isTime } from "../trust/times.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, tuple } from "../wire/shape.ts";
import { DECREE_ID_BYTES, type DecreeId, packIds, unpackIds } from "./decree-id.ts";
import { MAX_BEHIND } from "./limits.ts";

/**
 * A rotation: the members' secrets (cluster keys and keyring) are others from here on. It does not carry them: it commits to
 * them by a hash (`trust/keychain.ts`), and members hand them on over their links.
 *
 * It names the revocations behind it. Who has not applied those neither takes the new secrets nor hands them on, so that
 * they never reach whom they are to keep out. Of two rotations the higher epoch holds, then the lower hash.
 *
 * The bytes that are signed: [epoch, commitment, ids of revocations, time].
 */
export interface Rotation {
  /** Counts rotations: 2 for the first one, 2^32 - 1 at most. */
  readonly epoch: number;
  /** 32 bytes. */
  readonly commitment: Uint8Array;
  /** At most {@link MAX_BEHIND}. */
  readonly behind: readonly DecreeId[];
  readonly at: Instant;
}

export function encodeRotation({ epoch, commitment, behind, at }: Rotation): Uint8Array {
  return encode([epoch, commitment, packIds(behind), Math.floor(at)]);
}

/** The opposite of {@link encodeRotation}; undefined for anything else. Never throws. */
export function decodeRotation(body: Uint8Array): Rotation | undefined {
  const decoded = decode(body.slice(), { depth: 1, items: 5 });
  const fields = decoded.ok ? tuple(decoded.value, 4) : undefined;
  const epoch = integer(fields?.[0], 2, 0xffff_ffff);
  const commitment = bytesOf(fields?.[1], 32)?.slice();
  const packed = bytes(fields?.[2], MAX_BEHIND * DECREE_ID_BYTES);
  const behind = packed && unpackIds(packed);
  const at = integer(fields?.[3]);
  if (epoch === undefined || commitment === undefined || behind === undefined) return undefined;
  return at !== undefined && isTime(at) ? { epoch, commitment, behind, at } : undefined;
}
