/**
 * Randomness as an argument.
 *
 * Machines take a {@link Random}. The agent passes one backed by the system's CSPRNG (`drivers/entropy.ts`); tests and
 * the simulator pass {@link SeededRandom}, whose `fork(label)` gives each part of a world its own independent stream, so
 * that one more draw in one place does not change every other place.
 *
 * The seeded generator is xoshiro128** (Blackman and Vigna, 2018), seeded through splitmix32 and FNV-1a over the labels.
 * It is not fit for secrets and the agent never uses it.
 */

/** A source of uniformly distributed 32-bit words. */
export interface Random {
  /** The next integer, 0 to 2^32 - 1. */
  u32(): number;
  /** An independent source for one purpose; equal labels of equal parents give equal streams. */
  fork(label: string): Random;
}

/** A uniform integer, 0 to `bound` - 1, without modulo bias. `bound`: 1 to 2^32. */
export function below(random: Random, bound: number): number {
  const limit = 4294967296 - (4294967296 % bound);
  for (;;) {
    const word = random.u32();
    if (word < limit) return word % bound;
  }
}

/** A uniform number in [0, 1) with 32 bits of resolution. */
export function fraction(random: Random): number {
  return random.u32() / 4294967296;
}

/** `length` random bytes. */
export function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 4) {
    let word = random.u32();
    for (let byte = index; byte < index + 4 && byte < length; byte++) {
      bytes[byte] = word & 0xff;
      word >>>= 8;
    }
  }
  return bytes;
}

/** Shuffles `items` in place (Fisher and Yates) and returns them. */
export function shuffle<T>(random: Random, items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = below(random, last + 1);
    const item = items[last] as T;
    items[last] = items[other] as T;
    items[other] = item;
  }
  return items;
}

/** One item, uniformly; undefined when there is none. */
export function pick<T>(random: Random, items: readonly T[]): T | undefined {
  return items.length === 0 ? undefined : items[below(random, items.length)];
}

function fnv1a(text: string, seed: number): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash;
}

/** A replayable source for tests and simulation. */
export class SeededRandom implements Random {
  readonly #seed: number;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** @param seed any integer; only its low 32 bits count. */
  constructor(seed: number) {
    this.#seed = seed >>> 0;
    let state = this.#seed;
    const splitmix = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let word = state;
      word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      return (word ^ (word >>> 15)) >>> 0;
    };
    this.#a = splitmix();
    this.#b = splitmix();
    this.#c = splitmix();
    this.#d = splitmix() | 1;
  }

  u32(): number {
    const scrambled = Math.imul(this.#b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  fork(label: string): SeededRandom {
    return new SeededRandom(fnv1a(label, this.#seed));
  }
}
