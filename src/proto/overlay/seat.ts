import { concat, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";

/**
 * Where a member sits in each ring.
 *
 * A position is a hash of the ring, the PeerId and the member's `place`. The place comes from the issuers and is unknown
 * before a member has been admitted, so nobody chooses its neighbours by trying keys. One SHA-256 serves all rings: ring
 * r takes six of its bytes, and slices of one hash are as independent as hashes of their own. 48 bits are exact in a
 * JavaScript number; two of 20,000 members meet in one position about once in 350,000 clusters, and then the PeerId
 * decides their order.
 */

/** Rings: a random graph of degree 8, whose diameter is 6 at 10,000 members. */
export const RINGS = 4;

/** Positions run from 0 to 2^48 - 1. */
export const RING_SIZE = 281_474_976_710_656;

/** A member's place in every ring. Made once per member and shared by everything that sorts members. */
export interface RingSeat {
  readonly id: PeerId;
  /** One position per ring. */
  readonly positions: readonly number[];
}

const LABEL = utf8("starling/ring/1\0");

/** The seat of `id`; `place`: the 16 bytes of its token. */
export function seatOf(id: PeerId, place: Uint8Array): RingSeat {
  const digest = sha256(concat(LABEL, publicKeyOf(id), place));
  const positions: number[] = [];
  for (let ring = 0; ring < RINGS; ring++) {
    let position = 0;
    for (let index = ring * 6; index < ring * 6 + 6; index++) position = position * 256 + (digest[index] as number);
    positions.push(position);
  }
  return { id, positions };
}

/** The order in one ring: by position, then by PeerId. Negative: `a` comes first; zero: the same member. */
export function compareSeats(ring: number, a: RingSeat, b: RingSeat): number {
  const difference = (a.positions[ring] as number) - (b.positions[ring] as number);
  if (difference !== 0) return difference;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
