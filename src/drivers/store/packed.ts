import { assert } from "../../proto/assert.ts";
import type { SealedRow, Step } from "./backend.ts";
import { ADDRESS_BYTES, HEAD_BYTES } from "./envelope.ts";

/**
 * Transactions and pages as few byte strings, so that they cross to another thread without being copied or walked. An envelope that
 * is large crosses as it is, with no copy on this side either; what stands in its step is only its length.
 *
 *     step   kind (1), address (16), [ from (16), head (29) ], length (4), envelope unless it is large
 *     row    address (16), length (4), envelope
 */

/** An envelope this large crosses by itself: copying it costs more than handing over another buffer. */
const LARGE_BYTES = 16_384;

/** A transaction on its way to another thread: its steps, and the large envelopes in their order. Each has a buffer of its own. */
export interface PackedSteps {
  readonly steps: Uint8Array;
  readonly large: readonly Uint8Array[];
}

const PUT = 1;
const DELETE = 2;
const MOVE = 3;

/** Packs the steps of a transaction, whose envelopes are given away. */
export function packSteps(steps: readonly Step[]): PackedSteps {
  const large: Uint8Array[] = [];
  let length = 0;
  for (const step of steps) length += sizeOf(step);
  const packed = new Uint8Array(length);
  const view = new DataView(packed.buffer);
  let at = 0;
  const put = (bytes: Uint8Array): void => {
    packed.set(bytes, at);
    at += bytes.length;
  };
  for (const step of steps) {
    packed[at++] = step.type === "put" ? PUT : step.type === "delete" ? DELETE : MOVE;
    put(step.address);
    if (step.type === "delete") continue;
    if (step.type === "move") {
      put(step.from);
      put(step.head);
    }
    view.setUint32(at, step.envelope.length);
    at += 4;
    if (isLarge(step.envelope)) large.push(step.envelope);
    else put(step.envelope);
  }
  return { steps: packed, large };
}

function isLarge({ length }: Uint8Array): boolean {
  return length >= LARGE_BYTES;
}

function sizeOf(step: Step): number {
  const least = 1 + ADDRESS_BYTES;
  if (step.type === "delete") return least;
  const carried = isLarge(step.envelope) ? 0 : step.envelope.length;
  return least + 4 + carried + (step.type === "move" ? ADDRESS_BYTES + HEAD_BYTES : 0);
}

/** The steps in what {@link packSteps} made; views. */
export function* unpackSteps({ steps: packed, large }: PackedSteps): Generator<Step> {
  let apart = 0;
  const view = new DataView(packed.buffer, packed.byteOffset);
  let at = 0;
  const take = (length: number): Uint8Array => {
    at += length;
    assert(at <= packed.length, "a packed transaction is whole");
    return packed.subarray(at - length, at);
  };
  const envelope = (): Uint8Array => {
    const length = view.getUint32(at);
    at += 4;
    if (length < LARGE_BYTES) return take(length);
    const whole = large[apart++];
    assert(whole?.length === length, "a packed transaction is whole");
    return whole;
  };
  while (at < packed.length) {
    const kind = packed[at++];
    const address = take(ADDRESS_BYTES);
    if (kind === DELETE) yield { type: "delete", address };
    else if (kind === PUT) yield { type: "put", address, envelope: envelope() };
    else yield { type: "move", address, from: take(ADDRESS_BYTES), head: take(HEAD_BYTES), envelope: envelope() };
  }
}

/** Rows in a buffer of their own. */
export function packRows(rows: readonly SealedRow[]): Uint8Array {
  let length = 0;
  for (const { envelope } of rows) length += ADDRESS_BYTES + 4 + envelope.length;
  const packed = new Uint8Array(length);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const { address, envelope } of rows) {
    packed.set(address, at);
    view.setUint32(at + ADDRESS_BYTES, envelope.length);
    packed.set(envelope, at + ADDRESS_BYTES + 4);
    at += ADDRESS_BYTES + 4 + envelope.length;
  }
  return packed;
}

/** The rows in what {@link packRows} made; views. */
export function unpackRows(packed: Uint8Array): SealedRow[] {
  const rows: SealedRow[] = [];
  const view = new DataView(packed.buffer, packed.byteOffset);
  for (let at = 0; at < packed.length; ) {
    const start = at + ADDRESS_BYTES + 4;
    const end = start + view.getUint32(at + ADDRESS_BYTES);
    rows.push({ address: packed.subarray(at, at + ADDRESS_BYTES), envelope: packed.subarray(start, end) });
    at = end;
  }
  return rows;
}
