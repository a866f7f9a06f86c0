import { ID_BYTES, ID_WORDS } from "./mixing.ts";

/** A growing list of ids, four words each, without an object per id. */
export class IdList {
  /** The ids one after the other; only the first `length * 4` words count. */
  words = new Uint32Array(16 * ID_WORDS);
  #length = 0;

  /** How many ids. */
  get length(): number {
    return this.#length;
  }

  /** Appends an id. */
  push(a: number, b: number, c: number, d: number): void {
    let at = this.#length * ID_WORDS;
    if (at === this.words.length) {
      const larger = new Uint32Array(at * 2);
      larger.set(this.words);
      this.words = larger;
    }
    this.words[at++] = a;
    this.words[at++] = b;
    this.words[at++] = c;
    this.words[at] = d;
    this.#length++;
  }

  /** Appends id number `index` of another list. */
  pushFrom(list: IdList, index: number): void {
    const at = index * ID_WORDS;
    const { words } = list;
    this.push(words[at] as number, words[at + 1] as number, words[at + 2] as number, words[at + 3] as number);
  }

  /** At most `most` ids from number `from` on. */
  slice(from: number, most: number): IdList {
    const part = new IdList();
    const to = Math.min(this.#length, from + most);
    for (let index = from; index < to; index++) part.pushFrom(this, index);
    return part;
  }

  /** Drops all ids from number `length` on. */
  truncate(length: number): void {
    this.#length = Math.min(length, this.#length);
  }

  /** Word `word` of id number `index`. */
  word(index: number, word: number): number {
    return this.words[index * ID_WORDS + word] as number;
  }

  /** The ids as bytes, little-endian. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.#length * ID_BYTES);
    const view = new DataView(bytes.buffer);
    for (let word = 0; word < this.#length * ID_WORDS; word++)
      view.setUint32(word * 4, this.words[word] as number, true);
    return bytes;
  }

  /** The ids in bytes made by {@link toBytes}: a multiple of 16. */
  static fromBytes(bytes: Uint8Array): IdList {
    const list = new IdList();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + ID_BYTES <= bytes.length; at += ID_BYTES) {
      list.push(
        view.getUint32(at, true),
        view.getUint32(at + 4, true),
        view.getUint32(at + 8, true),
        view.getUint32(at + 12, true),
      );
    }
    return list;
  }
}
