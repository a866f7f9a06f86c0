/** Batches as an author makes them, for tests that need no machine. */
import { utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import { type Batch, batchBody } from "../../../src/proto/replication/batch.ts";
import { type Entry, entryDigest, entryOf, NO_HASH, pathOf } from "../../../src/proto/replication/entry.ts";
import { clockAt } from "../../../src/proto/replication/hlc.ts";
import { tokenHash } from "../../../src/proto/replication/tokens.ts";
import { fakeSignature, peerNumber, START, tokenFor } from "./world.ts";

/** Bucket, key, value; null deletes. */
export type Content = readonly [bucket: string, key: string, value: string | Uint8Array | null];

export interface MadeBatch {
  readonly batch: Batch;
  readonly entries: readonly Entry[];
}

/** A signed batch of author number `number`, with one clock per entry from `at` on. */
export function makeBatch(
  number: number,
  contents: readonly Content[],
  at: Instant = START,
  token = tokenFor(peerNumber(number)),
): MadeBatch {
  const author = peerNumber(number);
  const first = clockAt(at);
  const digests = new Uint8Array(contents.length * 32);
  const drafts = contents.map(([bucket, key, content], index) => {
    const value = content === null ? new Uint8Array(0) : typeof content === "string" ? utf8(content) : content;
    const keyBytes = utf8(key);
    const head = {
      bucket,
      key,
      keyBytes: keyBytes.length,
      clock: first + index,
      deleted: content === null,
      size: value.length,
      valueHash: content === null ? NO_HASH : sha256(value),
    };
    digests.set(entryDigest(publicKeyOf(author), head, keyBytes), index * 32);
    return { head, value, index, path: pathOf(keyBytes) };
  });
  const header = {
    author,
    tokenHash: tokenHash(token),
    first,
    last: first + contents.length - 1,
    acks: 0,
    isAtomic: false,
    digests,
  };
  const batch: Batch = { ...header, signature: fakeSignature(author, batchBody(header)) };
  return { batch, entries: drafts.map(({ head, value, index, path }) => entryOf(head, value, batch, index, path)) };
}
