import { assert } from "../../proto/assert.ts";
import type { SealedRow, Step } from "./backend.ts";
import { ADDRESS_BYTES, HEAD_BYTES } from "./envelope.ts";

/**
 * Transactions and pages as one byte string each, so that they cross to another thread without being copied or walked.
 *
 *     step   kind (1), address (16), [ from (16), head (29) ], length (4), envelope
 *     row    address (16), length (4), envelope
 */

const PUT = 1;
const DELETE = 2;
const MOVE = 3;

/** The steps of a transaction in a buffer of their own. */
export function packSteps(steps: readonly Step[]): Uint8Array {
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
    put(step.envelope);
  }
  return packed;
}

function sizeOf(step: Step): number {
  const least = 1 + ADDRESS_BYTES;
  if (step.type === "delete") return least;
  return least + 4 + step.envelope.length + (step.type === "move" ? ADDRESS_BYTES + HEAD_BYTES : 0);
}

/** The steps in what {@link packSteps} made; views. */
export function* unpackSteps(packed: Uint8Array): Generator<Step> {
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
    return take(length);
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
