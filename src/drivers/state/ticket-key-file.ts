/**
 * The keys of a signaling server's tickets: `tickets.keys` in its state directory, mode 0600, a line `BASE64 MADE` for each, the newest first: id and
 * key together, and when it was made (Unix ms). A file that cannot be used counts as none: everybody logs in once more.
 */
import { base64, fromBase64 } from "../../proto/base64.ts";
import { concat } from "../../proto/bytes.ts";
import type { Instant } from "../../proto/machine.ts";
import { readSecretText, writeSecretText } from "./secret-text.ts";

export const TICKET_KEYS_FILE = "tickets.keys";
const MAX_FILE_BYTES = 4_096;
const LINE = /^(\S{56}) (\d{1,15})$/;

interface TicketKey {
  /** 8 bytes. */
  readonly id: Uint8Array;
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly madeAt: Instant;
}

/** The keys in the file; none when there is none, or a line of it is no key. Throws `key-file-permissions` and `state-unavailable`. */
export async function readTicketKeys(path: string): Promise<readonly TicketKey[]> {
  const text = (await readSecretText(path, MAX_FILE_BYTES)) ?? "";
  const keys = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [, encoded = "", madeAt] = LINE.exec(line) ?? [];
      const bytes = fromBase64(encoded);
      return bytes?.length === 40 ? { id: bytes.slice(0, 8), key: bytes.slice(8), madeAt: Number(madeAt) } : undefined;
    });
  return keys.includes(undefined) ? [] : keys.filter((key) => key !== undefined);
}

/** Keeps `keys` in place of what is there; durable when it resolves. */
export async function writeTicketKeys(path: string, keys: readonly TicketKey[]): Promise<void> {
  const lines = keys.map(({ id, key, madeAt }) => `${base64(concat(id, key))} ${Math.floor(madeAt)}\n`);
  await writeSecretText(path, lines.join(""));
}
