/**
 * A backup in one file: rows, compressed and sealed under a passphrase, in chunks that can be neither swapped nor left out.
 *
 *     "starling backup 1\n"  header's length (4)  header
 *     then for each chunk    length (4)  nonce (24)  sealed: gzip of the msgpack array [[space, name, value], …]
 *
 * The header is JSON: `cluster`, `scrypt` with `cost` and `salt` (base64). It is associated data of every chunk, with the chunk's number and
 * whether it is the last. The file is written beside its name and moved there when it is complete and on the disk.
 */
import { scrypt as derive } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { z } from "zod";
import { StarlingError } from "../../errors.ts";
import { base64, fromBase64 } from "../../proto/base64.ts";
import { concat, fromUtf8, utf8 } from "../../proto/bytes.ts";
import { decode, encode, type WireValue } from "../../proto/wire/codec.ts";
import { bytes as bytesIn, integer, text, tuple } from "../../proto/wire/shape.ts";
import type { Row } from "../../store.ts";
import { nodeRowCipher } from "./cipher-node.ts";
import { NONCE_BYTES, type RowAead } from "./envelope.ts";
import { MAX_NAME_BYTES, MAX_SCRYPT_COST, MAX_SPACE, MAX_VALUE_BYTES, SCRYPT_COST } from "./limits.ts";

const MAGIC = utf8("starling backup 1\n");
const SALT_BYTES = 16;
const MAX_HEADER_BYTES = 4_096;
/** Rows of about so many bytes make a chunk; one large row makes a chunk alone. */
const CHUNK_BYTES = 1_048_576;
const CHUNK_ROWS = 4_096;
const MAX_CHUNK_BYTES = MAX_VALUE_BYTES + 2 * CHUNK_BYTES;
const ROWS_LIMITS = { depth: 3, items: 8 * CHUNK_ROWS };

const zip = promisify(gzip);
const unzip = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(gunzip);
const scrypt = promisify<string, Uint8Array, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(
  derive,
);

const headerSchema = z.strictObject({
  cluster: z.string().max(64),
  scrypt: z.strictObject({
    cost: z
      .int()
      .min(1_024)
      .max(MAX_SCRYPT_COST)
      .refine((cost) => (cost & (cost - 1)) === 0),
    salt: z.base64(),
  }),
});

/** Writes a backup of `rows` of `cluster` to `path`, which is replaced. Resolves with the number of rows, when they are on the disk. */
export async function writeBackup(
  path: string,
  cluster: string,
  passphrase: string,
  rows: AsyncIterable<readonly Row[]>,
): Promise<number> {
  const cipher = nodeRowCipher();
  const salt = cipher.randomBytes(SALT_BYTES);
  const header = utf8(JSON.stringify({ cluster, scrypt: { cost: SCRYPT_COST, salt: base64(salt) } }));
  const aead = cipher.aead(await keyOf(passphrase, salt, SCRYPT_COST));
  const temporary = `${path}.partial`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.write(concat(MAGIC, uint32(header.length), header));
    let number = 0;
    const seal = async (chunk: readonly Row[], isLast: boolean): Promise<void> => {
      const plain = await zip(encode(chunk.map(({ space, name, value }): WireValue => [space, name, value])));
      const nonce = cipher.randomBytes(NONCE_BYTES);
      const sealed = await aead.seal(nonce, [plain], associated(header, number++, isLast));
      await file.write(concat(uint32(nonce.length + sealed.length), nonce, sealed));
    };
    let count = 0;
    for await (const chunk of chunks(rows)) {
      count += chunk.length;
      await seal(chunk, false);
    }
    await seal([], true);
    await file.sync();
    await file.close();
    await rename(temporary, path);
    return count;
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * The cluster and the rows of a backup. Throws `state-corrupt` for a file that is none, is damaged or cut off (rows before the damage
 * have then been given), `permission-denied` for another passphrase.
 */
export async function readBackup(
  path: string,
  passphrase: string,
): Promise<{ readonly cluster: string; readonly rows: AsyncGenerator<readonly Row[], void, undefined> }> {
  const file = await open(path, "r");
  try {
    const magic = await read(file, MAGIC.length + 4, path);
    const length = new DataView(magic.buffer).getUint32(MAGIC.length);
    if (fromUtf8(magic.subarray(0, MAGIC.length)) !== fromUtf8(MAGIC) || length > MAX_HEADER_BYTES) throw damaged(path);
    const header = await read(file, length, path);
    const parsed = headerSchema.safeParse(parseJson(fromUtf8(header) ?? ""));
    const salt = parsed.success ? fromBase64(parsed.data.scrypt.salt) : undefined;
    if (!parsed.success || salt?.length !== SALT_BYTES) throw damaged(path);
    const aead = nodeRowCipher().aead(await keyOf(passphrase, salt, parsed.data.scrypt.cost));
    const first = await openChunk(file, aead, header, 0, path);
    if (first === undefined) {
      const message = `the passphrase does not open ${path}; give the one that it was made with, or take another copy if it is damaged`;
      throw new StarlingError("permission-denied", message);
    }
    return { cluster: parsed.data.cluster, rows: rest(file, aead, header, first, path) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Chunk {
  readonly rows: readonly Row[];
  readonly isLast: boolean;
}

async function* rest(
  file: FileHandle,
  aead: RowAead,
  header: Uint8Array,
  first: Chunk,
  path: string,
): AsyncGenerator<readonly Row[], void, undefined> {
  try {
    let chunk: Chunk | undefined = first;
    for (let number = 1; !chunk.isLast; number++) {
      yield chunk.rows;
      chunk = await openChunk(file, aead, header, number, path);
      if (chunk === undefined) throw damaged(path);
    }
  } finally {
    await file.close();
  }
}

async function openChunk(
  file: FileHandle,
  aead: RowAead,
  header: Uint8Array,
  number: number,
  path: string,
): Promise<Chunk | undefined> {
  const length = new DataView((await read(file, 4, path)).buffer).getUint32(0);
  if (length <= NONCE_BYTES || length > MAX_CHUNK_BYTES) throw damaged(path);
  const bytes = await read(file, length, path);
  const [nonce, sealed] = [bytes.subarray(0, NONCE_BYTES), bytes.subarray(NONCE_BYTES)];
  for (const isLast of [false, true]) {
    const plain = await aead.open(nonce, sealed, associated(header, number, isLast));
    if (plain === undefined) continue;
    const decoded = decode(new Uint8Array(await unzip(plain, { maxOutputLength: 2 * MAX_CHUNK_BYTES })), ROWS_LIMITS);
    const rows = decoded.ok && Array.isArray(decoded.value) ? decoded.value.map(parseRow) : [undefined];
    if (rows.includes(undefined)) throw damaged(path);
    return { rows: rows as readonly Row[], isLast };
  }
  return undefined;
}

function parseRow(value: WireValue): Row | undefined {
  const fields = tuple(value, 3);
  const space = integer(fields?.[0], 0, MAX_SPACE);
  const name = text(fields?.[1], MAX_NAME_BYTES);
  const content = bytesIn(fields?.[2], MAX_VALUE_BYTES);
  if (space === undefined || name === undefined || content === undefined) return undefined;
  return { space, name, value: content };
}

async function* chunks(rows: AsyncIterable<readonly Row[]>): AsyncGenerator<readonly Row[]> {
  let chunk: Row[] = [];
  let bytes = 0;
  for await (const portion of rows) {
    for (const row of portion) {
      if (chunk.length === CHUNK_ROWS || (chunk.length > 0 && bytes + row.value.length > CHUNK_BYTES)) {
        yield chunk;
        chunk = [];
        bytes = 0;
      }
      chunk.push(row);
      bytes += row.name.length + row.value.length;
    }
  }
  if (chunk.length > 0) yield chunk;
}

async function keyOf(passphrase: string, salt: Uint8Array, cost: number): Promise<Uint8Array> {
  const options = { N: cost, r: 8, p: 1, maxmem: 256 * 8 * cost };
  return new Uint8Array(await scrypt(passphrase.normalize("NFKC"), salt, 32, options));
}

function associated(header: Uint8Array, number: number, isLast: boolean): Uint8Array {
  return concat(MAGIC, header, uint32(number), Uint8Array.of(isLast ? 1 : 0));
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

async function read(file: FileHandle, length: number, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  const { bytesRead } = await file.read(bytes, 0, length);
  if (bytesRead !== length) throw damaged(path);
  return bytes;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(path: string): StarlingError {
  return new StarlingError("state-corrupt", `${path} is no backup, is damaged or was cut off; take another copy`);
}
