/** When worlds begin, Unix ms: any instant will do, so that nothing depends on the real clock. */
export const EPOCH_MS = 1_800_000_000_000;
