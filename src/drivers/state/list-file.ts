import { StarlingError } from "../../errors.ts";
import { equalBytes } from "../../proto/bytes.ts";
import { sha256 } from "../../proto/hash.ts";
import { decode, encode } from "../../proto/wire/codec.ts";
import { bytes, list } from "../../proto/wire/shape.ts";
import { readPrivate, writePrivate } from "./private-files.ts";

/**
 * A private file with a list of byte strings behind their SHA-256, for what is only a help: one that is missing, damaged, too long or
 * of another version counts as empty. What is in it is checked by whoever reads it, like anything from outside.
 */
export interface ListFile {
  /** The items; none if the file cannot be used. Throws only `key-file-permissions` and `state-unavailable`. */
  read(path: string): Promise<readonly Uint8Array[]>;
  /** Puts `items` in place of what is there; durable when it resolves. */
  write(path: string, items: readonly Uint8Array[]): Promise<void>;
}

const DIGEST_BYTES = 32;

/** @param limits of one file: items, the bytes of each, and of all together. */
export function listFile(limits: {
  readonly items: number;
  readonly itemBytes: number;
  readonly fileBytes: number;
}): ListFile {
  const { items, itemBytes, fileBytes } = limits;
  return {
    async read(path) {
      const content = await readPrivate(path, fileBytes).catch((error: unknown) => {
        if (error instanceof StarlingError && error.code === "state-corrupt") return undefined;
        throw error;
      });
      if (content === undefined || content.length < DIGEST_BYTES) return [];
      const body = content.subarray(DIGEST_BYTES);
      if (!equalBytes(sha256(body), content.subarray(0, DIGEST_BYTES))) return [];
      const decoded = decode(body, { depth: 1, items: items + 1 });
      return (decoded.ok ? list(decoded.value, items, (item) => bytes(item, itemBytes)) : undefined) ?? [];
    },
    async write(path, kept) {
      const body = encode(kept);
      await writePrivate(path, Buffer.concat([sha256(body), body]));
    },
  };
}
