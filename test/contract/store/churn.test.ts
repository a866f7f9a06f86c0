import { expect, test } from "vitest";
import { churn } from "./churn.ts";
import { makePlace } from "./stores.ts";

/** A tenth of what `npm run bench:store -- --churn 1000000` does. */
const CHANGES = 100_000;

test.each(["sqlite", "lmdb"] as const)(
  "the files of %s after many overwrites and deletions and a compaction are no more than twice what is live",
  async (kind) => {
    await using place = await makePlace(kind);
    await using store = await place.open();
    const { rows, liveBytes, diskBytesBefore, diskBytesAfter } = await churn(store, place.folder, CHANGES);
    expect(rows).toBeGreaterThan(CHANGES / 20);
    expect(diskBytesBefore).toBeGreaterThan(diskBytesAfter);
    expect(diskBytesAfter / liveBytes).toBeLessThanOrEqual(2);
  },
  60_000,
);
