import { type PeerId, peerIdOf } from "../peer-id.ts";
import type { RecordVersion } from "./record.ts";

/**
 * The short form of what a member holds about another, as exchanges compare it: which record, and whether its subject
 * counts as there. 53 bytes each, packed one behind the other into one byte string, so that a list of thousands is one
 * value to scan.
 *
 *     key 32 | boot 4 | incarnation 4 | standing 1 | fingerprint 8 | age 4      big-endian
 */
export interface Entry extends RecordVersion {
  readonly id: PeerId;
  readonly key: Uint8Array;
  readonly down: boolean;
  /** How long it has been down or gone, seconds; 0 while it is there. */
  readonly ageSeconds: number;
}

/** What a notice names: a member, and the record under which somebody holds it for down. 40 bytes packed. */
export interface Named {
  readonly id: PeerId;
  readonly boot: number;
  readonly incarnation: number;
}

export const ENTRY_BYTES = 53;
export const NAMED_BYTES = 40;
const KEY_BYTES = 32;

export function packEntries(entries: readonly Entry[]): Uint8Array {
  const packed = new Uint8Array(entries.length * ENTRY_BYTES);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const entry of entries) {
    packed.set(entry.key, at);
    view.setUint32(at + 32, entry.boot);
    view.setUint32(at + 36, entry.incarnation);
    packed[at + 40] = entry.status === "left" ? 2 : entry.down ? 1 : 0;
    view.setUint32(at + 41, entry.fingerprint[0]);
    view.setUint32(at + 45, entry.fingerprint[1]);
    view.setUint32(at + 49, Math.min(MAX_AGE_SECONDS, Math.max(0, Math.floor(entry.ageSeconds))));
    at += ENTRY_BYTES;
  }
  return packed;
}

/** The entries of `packed`; undefined when it is malformed. Keys are views. */
export function unpackEntries(packed: Uint8Array): readonly Entry[] | undefined {
  if (packed.length % ENTRY_BYTES !== 0) return undefined;
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  const entries: Entry[] = [];
  for (let at = 0; at < packed.length; at += ENTRY_BYTES) {
    const standing = packed[at + 40] as number;
    const boot = view.getUint32(at + 32);
    if (standing > 2 || boot === 0) return undefined;
    const key = packed.subarray(at, at + KEY_BYTES);
    entries.push({
      id: peerIdOf(key),
      key,
      boot,
      incarnation: view.getUint32(at + 36),
      status: standing === 2 ? "left" : "alive",
      down: standing === 1,
      fingerprint: [view.getUint32(at + 41), view.getUint32(at + 45)],
      ageSeconds: view.getUint32(at + 49),
    });
  }
  return entries;
}

export function packNamed(named: readonly (Named & { readonly key: Uint8Array })[]): Uint8Array {
  const packed = new Uint8Array(named.length * NAMED_BYTES);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const { key, boot, incarnation } of named) {
    packed.set(key, at);
    view.setUint32(at + 32, boot);
    view.setUint32(at + 36, incarnation);
    at += NAMED_BYTES;
  }
  return packed;
}

/** The members named in `packed`; undefined when it is malformed. */
export function unpackNamed(packed: Uint8Array): readonly Named[] | undefined {
  if (packed.length % NAMED_BYTES !== 0) return undefined;
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  const named: Named[] = [];
  for (let at = 0; at < packed.length; at += NAMED_BYTES) {
    const id = peerIdOf(packed.subarray(at, at + KEY_BYTES));
    named.push({ id, boot: view.getUint32(at + 32), incarnation: view.getUint32(at + 36) });
  }
  return named;
}

const MAX_AGE_SECONDS = 0xffff_ffff;
