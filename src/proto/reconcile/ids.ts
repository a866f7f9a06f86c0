import type { IdList } from "./id-list.ts";

/** The ids that an exchange compares: a whole set, or a part of one. See {@link IdSet}. */
export interface Ids {
  readonly size: number;
  /** The sum of all rows. */
  readonly total: Uint32Array;
  /** How many leaves. */
  readonly leaves: number;
  /** The sums of the leaves, a row each. */
  readonly sums: Uint32Array;
  find(a: number, b: number, c: number, d: number): number;
  fold(level: number, bits: number, section: number, rows: Uint32Array): void;
  collect(level: number, leaf: number, list: IdList, most: number): void;
}
