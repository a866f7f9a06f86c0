declare const decreeId: unique symbol;

/** The name of a decree: 16 bytes of a hash of kind, signer and body, one character per byte. Never printed. */
export type DecreeId = string & { readonly [decreeId]: true };

export const DECREE_ID_BYTES = 16;

/** Ids in a row as one byte string. */
export function packIds(ids: readonly DecreeId[]): Uint8Array {
  const packed = new Uint8Array(ids.length * DECREE_ID_BYTES);
  for (const [index, id] of ids.entries()) {
    for (let at = 0; at < DECREE_ID_BYTES; at++) packed[index * DECREE_ID_BYTES + at] = id.charCodeAt(at);
  }
  return packed;
}

/** The opposite of {@link packIds}; undefined when the length does not fit. */
export function unpackIds(packed: Uint8Array): readonly DecreeId[] | undefined {
  if (packed.length % DECREE_ID_BYTES !== 0) return undefined;
  const ids: DecreeId[] = [];
  for (let at = 0; at < packed.length; at += DECREE_ID_BYTES) {
    ids.push(String.fromCharCode(...packed.subarray(at, at + DECREE_ID_BYTES)) as DecreeId);
  }
  return ids;
}
