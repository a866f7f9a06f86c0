import { levelFor } from "./id-set.ts";
import { LEAVES_PER_DIFFERENCE, LISTING_SHARE, MAX_CELLS, MAX_SKETCHED_LEAVES, SMALL_SETS } from "./limits.ts";

/**
 * How the asking side goes about it, once it has an estimate: the arithmetic of bytes.
 *
 * A differing leaf costs about 40 bytes of cells and 16 per id found; a leaf in which several ids differ costs its some
 * 8 ids more; listing costs 16 bytes for every id. So small sets, and sets that differ nearly everywhere, are listed.
 */
export type Plan =
  | { readonly type: "list"; readonly level: number }
  | {
      readonly type: "sketch";
      readonly level: number;
      /** The leaves are divided into 2^bits sections, sketched one after the other. */
      readonly bits: number;
      /** Cells to begin a section with. */
      readonly cells: number;
    };

/** Plans an exchange. `differing`: how many of the leaves at {@link commonLevel} differ, about. */
export function planExchange(mine: number, theirs: number, differing: number): Plan {
  const level = commonLevel(mine, theirs);
  if (mine + theirs <= SMALL_SETS || differing * 128 >= LISTING_SHARE << level) {
    return { type: "list", level: levelFor(Math.max(mine, theirs)) };
  }
  let fitting = 0;
  while (fitting < level && 1 << fitting < differing * LEAVES_PER_DIFFERENCE) fitting++;
  let bits = 0;
  while (differing >>> bits > MAX_SKETCHED_LEAVES) bits++;
  return { type: "sketch", level: fitting, bits, cells: firstCells(differing / (1 << bits)) };
}

/** The level at which sets of these sizes are compared: the coarser one's. */
export function commonLevel(mine: number, theirs: number): number {
  return levelFor(Math.min(mine, theirs));
}

/** Differing leaves up to which the first cells shall be enough nearly always. */
const GENEROUS = 256;

/** Below this, peeling takes up to 1.8 cells per leaf and more by chance. */
const FEW = 12;

/**
 * Cells to begin with. Few differences: generous (two standard deviations of the estimate, and the spread of peeling),
 * since another round trip costs more than the bytes. Many: somewhat less than the mean, as the next steps are small.
 */
function firstCells(differing: number): number {
  const spread = 4 + 0.7 * Math.min(differing, FEW);
  const some = 1.9 * Math.min(differing, GENEROUS);
  return Math.ceil(spread + some + 1.25 * Math.max(0, differing - GENEROUS));
}

/** Cells when `sent` have not been enough: a twelfth more, and a few. */
export function furtherCells(sent: number): number {
  return sent + 8 + Math.floor(sent / 12);
}

/** Cells after which a sketch of so many leaves has failed: three for each leaf are more than peeling ever takes. */
export function cellLimit(leaves: number): number {
  return Math.min(MAX_CELLS, 64 + 3 * leaves);
}
