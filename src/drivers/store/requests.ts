import type { Found } from "./backend.ts";
import type { PackedSteps } from "./packed.ts";
import type { MarkKey, Tally } from "./tally.ts";

/** What passes between a store and the thread that owns its files. Byte strings are transferred, not copied. */

/** To the thread. It answers in order. */
export type Request =
  | { readonly type: "open"; readonly kind: "sqlite" | "lmdb"; readonly folder: string }
  | { readonly type: "write"; readonly packed: PackedSteps; readonly mark: MarkKey }
  | { readonly type: "write-format"; readonly format: Uint8Array }
  | { readonly type: "page"; readonly after: Uint8Array | undefined }
  | { readonly type: "read"; readonly address: Uint8Array }
  | { readonly type: "tally" }
  | { readonly type: "file-bytes" }
  | { readonly type: "compact" }
  | { readonly type: "rescue"; readonly without: readonly Uint8Array[]; readonly mark: MarkKey }
  | { readonly type: "close" };

/** What a request is answered with. */
export interface Results {
  readonly open: Found;
  readonly write: undefined;
  readonly "write-format": undefined;
  /** See `packRows`. */
  readonly page: Uint8Array;
  readonly read: Uint8Array | undefined;
  readonly tally: TallyNumbers;
  readonly "file-bytes": number;
  readonly compact: undefined;
  readonly rescue: { readonly setAside: string; readonly tally: TallyNumbers };
  readonly close: undefined;
}

/** A tally as it crosses: a mark by nobody's key. */
export type TallyNumbers = Uint8Array;

/** The key of marks that only carry numbers between two threads of one process. */
export const NO_KEY: MarkKey = { id: new Uint8Array(4), markKey: new Uint8Array(32) };

/** Numbers of a tally, to cross. */
export function numbersOf(tally: Tally): TallyNumbers {
  return tally.encode(NO_KEY);
}

/** From the thread. */
export type Answer =
  | { readonly ok: true; readonly value: Results[keyof Results] }
  | { readonly ok: false; readonly failure: Failure };

/** How a request failed; the class of the error does not survive the crossing. */
export interface Failure {
  readonly type: "damaged" | "full" | "missing" | "other";
  readonly message: string;
}
