import type { Entry } from "./entry.ts";
import { addDigest, addSum, emptySum, type Sum, subtractDigest } from "./sum.ts";
import { idOf, placeOf, type VersionId } from "./version-id.ts";

/**
 * The entries of one bucket as a 16-way tree over the hash of their keys, each node with the sum and number of what
 * is below it. Two replicas compare a *range*, a number of leading hex digits of the key hash (`depth`, 0 to 8, and
 * `path`, whose other bits are zero).
 *
 * The tree splits where it is full, so its shape depends on the replica's history, but a range's sum does not: below
 * a leaf it is computed from the leaf's few entries. Nothing about the shape is visible to the other side.
 */

/** Entries in a leaf before it splits; a branch with half as many becomes a leaf again. */
const LEAF_MAX = 32;

/** The deepest level: all 32 bits of the path. */
export const MAX_DEPTH = 8;

interface Leaf {
  readonly kind: "leaf";
  readonly sum: Sum;
  readonly items: Entry[];
}

interface Branch {
  readonly kind: "branch";
  readonly sum: Sum;
  count: number;
  readonly children: Node[];
}

type Node = Leaf | Branch;

/** Visits the entries of one leaf; false ends the visit. */
type LeafVisitor = (entries: readonly Entry[]) => boolean;

function emptyLeaf(): Leaf {
  return { kind: "leaf", sum: emptySum(), items: [] };
}

function sizeOf(node: Node): number {
  return node.kind === "leaf" ? node.items.length : node.count;
}

function nibble(path: number, depth: number): number {
  return (path >>> (28 - depth * 4)) & 15;
}

/** The path of a range's child. */
export function childPath(path: number, depth: number, child: number): number {
  return (path | (child << (28 - depth * 4))) >>> 0;
}

/** Whether `path` names a range of `depth` digits: all other bits are zero. */
export function isRange(depth: number, path: number): boolean {
  return depth === MAX_DEPTH || (path & (0xffffffff >>> (depth * 4))) === 0;
}

function inRange(entry: Entry, depth: number, path: number): boolean {
  return depth === 0 || entry.path >>> (32 - depth * 4) === path >>> (32 - depth * 4);
}

/** A bucket's hash tree. */
export class KeyTree {
  #root: Node = emptyLeaf();

  /** The sum of all entries. Not to be changed. */
  get sum(): Sum {
    return this.#root.sum;
  }

  /** Adds an entry; its key must not be in the tree. */
  add(entry: Entry): void {
    this.#root = this.#insert(this.#root, entry, 0);
  }

  #insert(node: Node, entry: Entry, depth: number): Node {
    addDigest(node.sum, entry.batch.digests, entry.index * 32);
    if (node.kind === "branch") {
      node.count++;
      const child = nibble(entry.path, depth);
      node.children[child] = this.#insert(node.children[child] as Node, entry, depth + 1);
      return node;
    }
    node.items.push(entry);
    if (node.items.length <= LEAF_MAX || depth === MAX_DEPTH) return node;
    const children: Node[] = Array.from({ length: 16 }, emptyLeaf);
    for (const item of node.items) {
      const child = nibble(item.path, depth);
      children[child] = this.#insert(children[child] as Node, item, depth + 1);
    }
    return { kind: "branch", sum: node.sum, count: node.items.length, children };
  }

  /** Removes an entry that is in the tree. */
  remove(entry: Entry): void {
    this.#root = this.#delete(this.#root, entry, 0);
  }

  #delete(node: Node, entry: Entry, depth: number): Node {
    subtractDigest(node.sum, entry.batch.digests, entry.index * 32);
    if (node.kind === "leaf") {
      const last = node.items.pop();
      if (last !== undefined && last !== entry) node.items[node.items.indexOf(entry)] = last;
      return node;
    }
    node.count--;
    const child = nibble(entry.path, depth);
    node.children[child] = this.#delete(node.children[child] as Node, entry, depth + 1);
    if (node.count > LEAF_MAX / 2) return node;
    const items: Entry[] = [];
    visit(node, (entries) => {
      for (const item of entries) items.push(item);
      return true;
    });
    return { kind: "leaf", sum: node.sum, items };
  }

  /** The deepest node that covers the range, and its depth. */
  #cover(depth: number, path: number): { node: Node; at: number } {
    let node = this.#root;
    let at = 0;
    while (at < depth && node.kind === "branch") node = node.children[nibble(path, at++)] as Node;
    return { node, at };
  }

  /** How many entries the range holds. */
  count(depth: number, path: number): number {
    const { node, at } = this.#cover(depth, path);
    if (at === depth || node.kind === "branch") return sizeOf(node);
    let count = 0;
    for (const item of node.items) if (inRange(item, depth, path)) count++;
    return count;
  }

  /** The sums of the range's 16 children. `depth` below 8. */
  childSums(depth: number, path: number): readonly Sum[] {
    const { node, at } = this.#cover(depth, path);
    if (node.kind === "branch" && at === depth) return node.children.map((child) => child.sum);
    const sums = Array.from({ length: 16 }, emptySum);
    if (node.kind === "leaf") {
      for (const item of node.items) {
        if (inRange(item, depth, path)) {
          addDigest(sums[nibble(item.path, depth)] as Sum, item.batch.digests, item.index * 32);
        }
      }
    }
    return sums;
  }

  /** The sums of the 256 ranges of two digits. */
  slotSums(): readonly Sum[] {
    const sums: Sum[] = [];
    for (let child = 0; child < 16; child++) sums.push(...this.childSums(1, childPath(0, 0, child)));
    return sums;
  }

  /** Which of the range's 16 children hold entries, as bits. `depth` below 8. */
  occupied(depth: number, path: number): number {
    const { node, at } = this.#cover(depth, path);
    let mask = 0;
    if (node.kind === "branch") {
      if (at === depth)
        for (let child = 0; child < 16; child++) if (sizeOf(node.children[child] as Node) > 0) mask |= 1 << child;
      return mask;
    }
    for (const item of node.items) if (inRange(item, depth, path)) mask |= 1 << nibble(item.path, depth);
    return mask;
  }

  /**
   * Visits the range leaf by leaf until the visitor returns false. Entries of a leaf above the range are narrowed to
   * it.
   */
  visit(depth: number, path: number, visitor: LeafVisitor): void {
    const { node, at } = this.#cover(depth, path);
    if (at === depth) visit(node, visitor);
    else if (node.kind === "leaf") visitor(node.items.filter((item) => inRange(item, depth, path)));
  }

  /** The ids of the range's entries. */
  ids(depth: number, path: number): VersionId[] {
    const ids: VersionId[] = [];
    this.visit(depth, path, (entries) => {
      for (const entry of entries) ids.push(idOf(entry));
      return true;
    });
    return ids;
  }

  /** The version with that id. */
  find(id: VersionId): Entry | undefined {
    const path = placeOf(id);
    const { node } = this.#cover(MAX_DEPTH, path);
    if (node.kind === "branch") return undefined;
    return node.items.find((item) => item.path === path && idOf(item) === id);
  }
}

function visit(node: Node, visitor: LeafVisitor): boolean {
  if (node.kind === "leaf") return node.items.length === 0 || visitor(node.items);
  for (const child of node.children) if (!visit(child, visitor)) return false;
  return true;
}

/** The sum of the sums of several trees. */
export function totalOf(trees: Iterable<KeyTree>): Sum {
  const total = emptySum();
  for (const tree of trees) addSum(total, tree.sum);
  return total;
}
