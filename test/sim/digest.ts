/**
 * A running 64-bit digest of what happened, so that two runs of a seed can be compared by one number. Two multiplicative
 * lanes (the constants are murmur3's); fast and well mixed, not cryptographic.
 */
export class Digest {
  #a = 0x9e3779b9;
  #b = 0x85ebca6b;

  /** Mixes in the low 32 bits of `word`. */
  word(word: number): void {
    this.#a = Math.imul((this.#a ^ word) + ((this.#b << 13) | (this.#b >>> 19)), 0xcc9e2d51);
    this.#b = Math.imul(this.#b ^ (this.#a >>> 15), 0x1b873593) + word;
  }

  /** Mixes in a number with all its bits. */
  number(value: number): void {
    float[0] = value;
    this.word(words[0] as number);
    this.word(words[1] as number);
  }

  bytes(bytes: Uint8Array): void {
    const length = bytes.length;
    this.word(length);
    let index = 0;
    for (; index + 4 <= length; index += 4) {
      this.word(wordAt(bytes, index));
    }
    for (; index < length; index++) this.word(bytes[index] as number);
  }

  /** Mixes in a message: its length and both ends. What is signed ends in its signature, which depends on all of it. */
  message(bytes: Uint8Array): void {
    const length = bytes.length;
    if (length <= 2 * MESSAGE_END_BYTES) {
      this.bytes(bytes);
      return;
    }
    this.word(length);
    for (let index = 0; index < MESSAGE_END_BYTES; index += 4) this.word(wordAt(bytes, index));
    for (let index = length - MESSAGE_END_BYTES; index < length; index += 4) this.word(wordAt(bytes, index));
  }

  text(text: string): void {
    this.word(text.length);
    for (let index = 0; index < text.length; index++) this.word(text.charCodeAt(index));
  }

  /** The low 32 bits so far. */
  low(): number {
    return (this.#a ^ (this.#b >>> 16)) >>> 0;
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    const high = (this.#a ^ (this.#b >>> 16)) >>> 0;
    const low = (this.#b ^ (this.#a >>> 13)) >>> 0;
    return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
  }
}

/** What of a long message goes into the digest, at each end. */
const MESSAGE_END_BYTES = 16;

function wordAt(bytes: Uint8Array, index: number): number {
  const low = (bytes[index] as number) | ((bytes[index + 1] as number) << 8);
  return low | ((bytes[index + 2] as number) << 16) | ((bytes[index + 3] as number) << 24);
}

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
