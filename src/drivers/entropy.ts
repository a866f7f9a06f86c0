import type { Random } from "../proto/random.ts";

/** Words fetched at a time: one call for 4 KiB costs about as much as one for 4 bytes. */
const BUFFERED_WORDS = 1_024;

/**
 * The system's CSPRNG as a {@link Random}, in Node and in browsers. Its words are independent of each other, so a fork is
 * the source itself; unlike a seeded source, equal labels do not give equal streams. A word is erased once it is given out.
 */
export function systemRandom(): Random {
  const words = new Uint32Array(BUFFERED_WORDS);
  let next = BUFFERED_WORDS;
  const random: Random = {
    u32() {
      if (next === BUFFERED_WORDS) {
        crypto.getRandomValues(words);
        next = 0;
      }
      const word = words[next] as number;
      words[next++] = 0;
      return word;
    },
    fork: () => random,
  };
  return random;
}
