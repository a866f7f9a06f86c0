/**
 * The key ring of a store, in a file of its own: the keys themselves, for a file that only its owner may read, or sealed under a passphrase.
 *
 * A passphrase is turned into a key by scrypt (RFC 7914), whose cost stands in the file, so that later versions may raise it; a cost beyond a
 * bound is taken for damage, since whoever can write the file must not make us spend gigabytes. The header is associated data.
 *
 *     plain    {"starling":"key ring 1","keys":["BASE64", …]}
 *     sealed   {"starling":"key ring 1","scrypt":{"cost":65536,"salt":"BASE64"},"sealed":"BASE64"}
 */
import { scrypt as derive } from "node:crypto";
import { promisify } from "node:util";
import { z } from "zod";
import { StarlingError } from "../../errors.ts";
import { base64, fromBase64 } from "../../proto/base64.ts";
import { concat, fromUtf8, utf8 } from "../../proto/bytes.ts";
import { describeWeakness, keyWeakness } from "../../proto/trust/key-strength.ts";
import type { KeyRing, SecretFile } from "../../store.ts";
import { nodeRowCipher } from "./cipher-node.ts";
import { NONCE_BYTES, type RowCipher } from "./envelope.ts";
import { MAX_RING_BYTES, MAX_RING_KEYS, MAX_SCRYPT_COST, SCRYPT_COST } from "./limits.ts";

const KEY_BYTES = 32;
const SALT_BYTES = 16;
const LEAST_SCRYPT_COST = 1_024;
const BLOCK_SIZE = 8;

const scrypt = promisify<string, Uint8Array, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(
  derive,
);

const HEADER = "key ring 1";
const keysSchema = z.array(z.base64()).min(1).max(MAX_RING_KEYS);
const plainSchema = z.strictObject({ starling: z.literal(HEADER), keys: keysSchema });
const costSchema = z.number().int().min(LEAST_SCRYPT_COST).max(MAX_SCRYPT_COST);
const sealedSchema = z.strictObject({
  starling: z.literal(HEADER),
  scrypt: z.strictObject({
    cost: costSchema.refine((cost) => (cost & (cost - 1)) === 0),
    salt: z.base64(),
  }),
  sealed: z.base64(),
});

/** How a ring is protected. */
export interface KeyRingOptions {
  /** The file is sealed under it. Without it the file holds the keys as they are. */
  readonly passphrase?: string;
  /** The cost of scrypt for what is written, a power of two from 1,024 to 262,144. Default 65,536: 64 MiB, about 0.2 s. */
  readonly scryptCost?: number;
}

/**
 * The ring in `file`, made with one new key if there is none. Throws `state-corrupt`, `weak-key`, and `permission-denied` when the
 * passphrase is missing, not the right one, or not needed.
 */
export async function openKeyRing(file: SecretFile, options: KeyRingOptions = {}): Promise<KeyRing> {
  const cipher = nodeRowCipher();
  const bytes = await file.read();
  const ring = new StoredRing(file, bytes === undefined ? [] : await parse(bytes, options, cipher), options, cipher);
  if (bytes === undefined) await ring.add();
  return ring;
}

class StoredRing implements KeyRing {
  readonly #file: SecretFile;
  readonly #options: KeyRingOptions;
  readonly #cipher: RowCipher;
  #keys: readonly Uint8Array[];

  constructor(file: SecretFile, keys: readonly Uint8Array[], options: KeyRingOptions, cipher: RowCipher) {
    this.#file = file;
    this.#keys = keys;
    this.#options = options;
    this.#cipher = cipher;
  }

  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  async add(): Promise<void> {
    if (this.#keys.length === MAX_RING_KEYS) {
      const message = "too many rotations were begun and not ended; let the store seal its rows anew first";
      throw new StarlingError("limit-reached", message);
    }
    await this.#keep([this.#cipher.randomBytes(KEY_BYTES), ...this.#keys]);
  }

  async retire(): Promise<void> {
    if (this.#keys.length > 1) await this.#keep(this.#keys.slice(0, 1));
  }

  // Durable before it is used: a row must never be sealed with a key that a crash can take away.
  async #keep(keys: readonly Uint8Array[]): Promise<void> {
    await this.#file.write(await encode(keys, this.#options, this.#cipher));
    this.#keys = keys;
  }
}

async function encode(
  keys: readonly Uint8Array[],
  { passphrase, scryptCost: cost = SCRYPT_COST }: KeyRingOptions,
  cipher: RowCipher,
): Promise<Uint8Array> {
  const texts = keys.map(base64);
  if (passphrase === undefined) return utf8(`${JSON.stringify({ starling: HEADER, keys: texts })}\n`);
  const salt = cipher.randomBytes(SALT_BYTES);
  const nonce = cipher.randomBytes(NONCE_BYTES);
  const aead = cipher.aead(await wrappingKey(passphrase, salt, cost));
  const sealed = await aead.seal(nonce, [utf8(JSON.stringify(texts))], associated(cost, salt));
  const file = { starling: HEADER, scrypt: { cost, salt: base64(salt) }, sealed: base64(concat(nonce, sealed)) };
  return utf8(`${JSON.stringify(file)}\n`);
}

async function parse(bytes: Uint8Array, options: KeyRingOptions, cipher: RowCipher): Promise<readonly Uint8Array[]> {
  if (bytes.length > MAX_RING_BYTES) throw corrupt();
  const json = parseJson(fromUtf8(bytes) ?? "");
  const plain = plainSchema.safeParse(json);
  if (plain.success) {
    if (options.passphrase !== undefined)
      throw new StarlingError("permission-denied", "the store's key ring has no passphrase, but one was given");
    return keysOf(plain.data.keys);
  }
  const wrapped = sealedSchema.safeParse(json);
  if (!wrapped.success) throw corrupt();
  if (options.passphrase === undefined)
    throw new StarlingError("permission-denied", "the store's key ring is sealed; give its passphrase");
  const { cost } = wrapped.data.scrypt;
  const salt = fromBase64(wrapped.data.scrypt.salt);
  const sealed = fromBase64(wrapped.data.sealed);
  if (salt?.length !== SALT_BYTES || sealed === undefined) throw corrupt();
  const aead = cipher.aead(await wrappingKey(options.passphrase, salt, cost));
  const content = await aead.open(
    sealed.subarray(0, NONCE_BYTES),
    sealed.subarray(NONCE_BYTES),
    associated(cost, salt),
  );
  if (content === undefined) {
    const message =
      "the passphrase does not open the store's key ring; give the right one, or restore the file if it is damaged";
    throw new StarlingError("permission-denied", message);
  }
  const list = keysSchema.safeParse(parseJson(fromUtf8(content) ?? ""));
  if (!list.success) throw corrupt();
  return keysOf(list.data);
}

async function wrappingKey(passphrase: string, salt: Uint8Array, cost: number): Promise<Uint8Array> {
  const maxmem = 256 * BLOCK_SIZE * cost;
  // The same passphrase is typed in different ways; this form of it is one.
  const text = passphrase.normalize("NFKC");
  return new Uint8Array(await scrypt(text, salt, KEY_BYTES, { N: cost, r: BLOCK_SIZE, p: 1, maxmem }));
}

function associated(cost: number, salt: Uint8Array): Uint8Array {
  return concat(utf8(`starling/${HEADER}/${cost}/`), salt);
}

function keysOf(texts: readonly string[]): readonly Uint8Array[] {
  return texts.map((text) => {
    const key = fromBase64(text);
    if (key?.length !== KEY_BYTES) throw corrupt();
    const weakness = keyWeakness(key);
    if (weakness !== undefined)
      throw new StarlingError("weak-key", `a key of the store's key ring ${describeWeakness(weakness)}`);
    return key;
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function corrupt(): StarlingError {
  const message =
    "the store's key ring is damaged; restore the file from a backup, or move it and the store away to begin anew";
  return new StarlingError("state-corrupt", message);
}
