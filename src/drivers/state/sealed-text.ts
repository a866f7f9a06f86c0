/**
 * Key files sealed under a passphrase: a stolen disk or backup gives away no key without it.
 *
 * The passphrase becomes a key by scrypt (RFC 7914), whose parameters stand in the file, so that later versions may raise them;
 * values beyond a bound are taken for damage, since whoever can write the file must not make us spend gigabytes. The text is sealed
 * with XChaCha20-Poly1305 under a fresh nonce, and what stands before it is associated data.
 *
 *     # Starling: sealed under a passphrase.
 *     sealed-1 N=65536 r=8 p=1 SALT DATA        both in base64
 *
 * Files are told apart by this form alone: what is not sealed is read as it is.
 */
import { randomBytes, scrypt } from "node:crypto";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { base64, fromBase64 } from "../../proto/base64.ts";
import { concat, fromUtf8, utf8 } from "../../proto/bytes.ts";

/** 64 MiB and about 0.2 s for each guess: what the store's key ring takes too. */
const COST = 65_536;
const LEAST_COST = 1_024;
const MOST_COST = 262_144;
const BLOCK_SIZE = 8;
const PARALLEL = 1;
const SALT_BYTES = 16;
const NONCE_BYTES = 24;

const HEAD = "# Starling: sealed under a passphrase.\n";
const LINE = /^sealed-1 N=(\d{4,6}) r=8 p=1 ([A-Za-z0-9+/=]{24}) ([A-Za-z0-9+/=]+)$/m;

/** Whether a file's text is sealed. */
export function isSealed(text: string): boolean {
  return text.startsWith(HEAD);
}

/** Turns one passphrase into keys. Keep one for as long as the passphrase: it remembers the keys of the salts that it has met. */
export class Sealer {
  readonly #passphrase: string;
  readonly #keys = new Map<string, Promise<Uint8Array>>();
  #salt: Uint8Array | undefined;

  constructor(passphrase: string) {
    // The same passphrase is typed in different ways; this form of it is one.
    this.#passphrase = passphrase.normalize("NFKC");
  }

  /** The sealed form of a file's text. All that one sealer seals has one salt: scrypt is paid for once. */
  async seal(text: string): Promise<string> {
    this.#salt ??= new Uint8Array(randomBytes(SALT_BYTES));
    const prefix = prefixOf(COST, this.#salt);
    const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
    const sealed = xchacha20poly1305(await this.#key(COST, this.#salt), nonce, utf8(prefix)).encrypt(utf8(text));
    return `${HEAD}${prefix} ${base64(concat(nonce, sealed))}\n`;
  }

  /** The text of a sealed file; `damaged` when it is none, `locked` when the passphrase is not its own, or the file was altered. */
  async open(sealed: string): Promise<{ readonly text: string } | "damaged" | "locked"> {
    const [, costText = "", saltText = "", dataText = ""] = LINE.exec(sealed.slice(HEAD.length)) ?? [];
    const [cost, salt, data] = [Number(costText), fromBase64(saltText), fromBase64(dataText)];
    const isCost = cost >= LEAST_COST && cost <= MOST_COST && (cost & (cost - 1)) === 0;
    if (!isCost || salt?.length !== SALT_BYTES || data === undefined || data.length < NONCE_BYTES) return "damaged";
    const aead = xchacha20poly1305(
      await this.#key(cost, salt),
      data.subarray(0, NONCE_BYTES),
      utf8(prefixOf(cost, salt)),
    );
    try {
      const text = fromUtf8(aead.decrypt(data.subarray(NONCE_BYTES)));
      if (text === undefined) return "damaged";
      if (cost === COST) this.#salt ??= salt;
      return { text };
    } catch {
      return "locked";
    }
  }

  #key(cost: number, salt: Uint8Array): Promise<Uint8Array> {
    const name = `${cost} ${base64(salt)}`;
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const key = new Promise<Uint8Array>((resolve, reject) => {
      const options = { N: cost, r: BLOCK_SIZE, p: PARALLEL, maxmem: 256 * BLOCK_SIZE * cost };
      scrypt(this.#passphrase, salt, 32, options, (error, derived) => {
        if (error === null) resolve(new Uint8Array(derived));
        else reject(error);
      });
    });
    if (this.#keys.size < MAX_KEYS) this.#keys.set(name, key);
    return key;
  }
}

/** Keys that a sealer remembers: the files of a state directory, each sealed at another time. */
const MAX_KEYS = 16;

function prefixOf(cost: number, salt: Uint8Array): string {
  return `sealed-1 N=${cost} r=${BLOCK_SIZE} p=${PARALLEL} ${base64(salt)}`;
}
