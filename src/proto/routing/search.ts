import { concat } from "../bytes.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { type Search, TAG_BYTES } from "./envelope.ts";
import { MAX_HOPS, PROBE_HOPS } from "./limits.ts";

/** What an envelope and its bounces carry of the search for a way: transmissions left, and the tags of those that have had it. */

/** A search that has not begun. */
export const BEGIN: Search = { hops: MAX_HOPS, seenBy: new Uint8Array() };

/** The same for a probe, which is soon made again. */
export const BEGIN_PROBE: Search = { hops: PROBE_HOPS, seenBy: new Uint8Array() };

/** What names a member in a search: the first four bytes of its key, as one number. */
export function tagOf(peer: PeerId): number {
  return wordAt(publicKeyOf(peer), 0);
}

export function hasSeen({ seenBy }: Search, tag: number): boolean {
  for (let offset = 0; offset < seenBy.length; offset += TAG_BYTES) if (wordAt(seenBy, offset) === tag) return true;
  return false;
}

/** The search after one more transmission (or `cost` of them) by the member of this tag. */
export function passedBy(search: Search, tag: number, cost = 1): Search {
  return { hops: search.hops - cost, seenBy: withTag(search, tag) };
}

/** Two reports of one search: whatever either has spent is spent, whoever either names has had it. */
export function joined(ours: Search, theirs: Search): Search {
  let all = ours;
  for (let offset = 0; offset < theirs.seenBy.length; offset += TAG_BYTES)
    all = { hops: all.hops, seenBy: withTag(all, wordAt(theirs.seenBy, offset)) };
  return { hops: Math.min(ours.hops, theirs.hops), seenBy: all.seenBy };
}

function withTag(search: Search, tag: number): Uint8Array {
  const { seenBy } = search;
  if (seenBy.length >= MAX_HOPS * TAG_BYTES || hasSeen(search, tag)) return seenBy;
  return concat(seenBy, Uint8Array.of(tag >>> 24, tag >>> 16, tag >>> 8, tag));
}

function wordAt(bytes: Uint8Array, offset: number): number {
  return (
    (((bytes[offset] as number) << 24) |
      ((bytes[offset + 1] as number) << 16) |
      ((bytes[offset + 2] as number) << 8) |
      (bytes[offset + 3] as number)) >>>
    0
  );
}
