/**
 * A reader of LMDB's files that believes nothing: it checks one before LMDB maps it into memory, and saves what it can from one that
 * failed.
 *
 * The layout is that of data version 2, as the package `lmdb` writes it (its own variant of the free list included). Two meta pages
 * name, by turns, the roots of two trees: the free list and the rows. A page has a header and offsets to its nodes; a value that does not fit
 * stands in a run of pages of its own. Checked is all that LMDB would follow: numbers of pages, offsets, lengths, order of keys,
 * counts, and that no page is used twice or is free and used. The values are not: their seal proves them.
 *
 * All numbers are little-endian; on other machines LMDB's files are not checked here, and not written there.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { compareBytes } from "../../proto/bytes.ts";
import { DamagedFile } from "./backend.ts";
import { MAX_ENVELOPE_BYTES } from "./envelope.ts";

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const HEADER = 24;
const META_BYTES = HEADER + 136;
const NODE = 8;
/** Where a big value stands: page, transaction, number of pages. */
const RUN_BYTES = 24;
const MAX_KEY = 512;
/** Deeper than any tree of 2^48 rows. */
const MAX_DEPTH = 16;
const MAX_PAGE_BYTES = 65_536;
/** No map is larger than the address space. */
const MAX_MAP_BYTES = 2 ** 47;

const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const META = 8;
const BIG = 1;
const NO_PAGE = -1;

interface Tree {
  readonly flags: number;
  readonly depth: number;
  readonly branches: number;
  readonly leaves: number;
  readonly runs: number;
  readonly entries: number;
  /** {@link NO_PAGE} when empty. */
  readonly root: number;
}

interface Meta {
  readonly pageBytes: number;
  readonly mapBytes: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
  readonly transaction: number;
}

/** A node of a leaf, with its value where it stands. */
interface Leaf {
  readonly key: Uint8Array;
  readonly value: () => Uint8Array;
}

/** Throws {@link DamagedFile} unless LMDB can use the file at `path`. An empty file is one that LMDB has yet to write. */
export function checkLmdbFile(path: string): void {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    if (size === 0) return;
    const metas = readMetas(file);
    const meta = newest(metas);
    const [first, second] = metas;
    if (first === undefined || second === undefined || meta === undefined)
      throw new DamagedFile("a meta page is damaged");
    if (first.pageBytes !== second.pageBytes) throw new DamagedFile("the meta pages do not fit each other");
    const pages = new Pages(file, meta, size);
    pages.checkTree(meta.free);
    pages.checkTree(meta.main);
    pages.checkFree(meta.free);
  } finally {
    closeSync(file);
  }
}

/** Every row that can be reached in a damaged file. */
export function* salvageLmdbFile(path: string): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const metas = readMetas(file).filter((meta) => meta !== undefined);
    for (const meta of metas.sort((a, b) => b.transaction - a.transaction)) {
      let rows = 0;
      for (const { key, value } of new Pages(file, meta, size).leaves(meta.main, true)) {
        const bytes = orUndefined(value);
        if (bytes === undefined) continue;
        rows++;
        yield { key, value: bytes };
      }
      // The older state is for when the newer one leads nowhere.
      if (rows > 0) return;
    }
  } finally {
    closeSync(file);
  }
}

function newest(metas: readonly (Meta | undefined)[]): Meta | undefined {
  const [first, second] = metas;
  if (first === undefined || second === undefined) return first ?? second;
  return first.transaction >= second.transaction ? first : second;
}

/** Both meta pages; undefined for one that makes no sense. The second is looked for at every size that pages may have. */
function readMetas(file: number): (Meta | undefined)[] {
  const first = readMeta(file, 0);
  if (first !== undefined) return [first, readMeta(file, first.pageBytes)];
  for (let size = 512; size <= MAX_PAGE_BYTES; size *= 2) {
    const second = readMeta(file, size);
    if (second?.pageBytes === size) return [undefined, second];
  }
  return [undefined, undefined];
}

function readMeta(file: number, at: number): Meta | undefined {
  const page = new DataView(new ArrayBuffer(META_BYTES));
  if (readSync(file, page, 0, META_BYTES, at) !== META_BYTES) return undefined;
  if (page.getUint16(18, true) !== META || page.getUint32(HEADER, true) !== MAGIC) return undefined;
  if (page.getUint32(HEADER + 4, true) !== DATA_VERSION || number(page, HEADER + 8) !== 0) return undefined;
  const pageBytes = page.getUint32(HEADER + 24, true);
  const mapBytes = number(page, HEADER + 16);
  const lastPage = number(page, HEADER + 120);
  const transaction = number(page, HEADER + 128);
  const isPower = pageBytes >= 512 && pageBytes <= MAX_PAGE_BYTES && (pageBytes & (pageBytes - 1)) === 0;
  if (!isPower || mapBytes > MAX_MAP_BYTES || mapBytes % pageBytes !== 0) return undefined;
  if (lastPage < 1 || lastPage >= mapBytes / pageBytes || !Number.isSafeInteger(transaction)) return undefined;
  return {
    pageBytes,
    mapBytes,
    free: readTree(page, HEADER + 24),
    main: readTree(page, HEADER + 72),
    lastPage,
    transaction,
  };
}

function readTree(page: DataView, at: number): Tree {
  const root = page.getBigInt64(at + 40, true);
  return {
    flags: page.getUint16(at + 4, true),
    depth: page.getUint16(at + 6, true),
    branches: number(page, at + 8),
    leaves: number(page, at + 16),
    runs: number(page, at + 24),
    entries: number(page, at + 32),
    root: root === -1n ? NO_PAGE : Number(root),
  };
}

/** An unsigned integer of 8 bytes; above 2^53 it is not exact, and out of every bound. */
function number(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 4_294_967_296;
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DamagedFile) return undefined;
    throw error;
  }
}

/** The pages of one state of a file. */
class Pages {
  readonly #file: number;
  readonly #meta: Meta;
  /** Pages that the file has; its last ones may be free and never written. */
  readonly #count: number;
  /** What each page is used for: 1 in a tree, 2 free. */
  readonly #used: Uint8Array;
  #branches = 0;
  #leaves = 0;
  #runs = 0;

  constructor(file: number, meta: Meta, fileBytes: number) {
    this.#file = file;
    this.#meta = meta;
    this.#count = Math.min(meta.lastPage + 1, Math.floor(fileBytes / meta.pageBytes));
    this.#used = new Uint8Array(this.#count);
  }

  /** Throws unless the tree is whole and has what it says. */
  checkTree(tree: Tree): void {
    this.#branches = 0;
    this.#leaves = 0;
    this.#runs = 0;
    let entries = 0;
    let last: Uint8Array | undefined;
    const isMain = tree === this.#meta.main;
    demand(isMain ? tree.flags === 0 : (tree.flags & ~0x08) === (tree.flags & 0xfff7), "the flags of a tree");
    for (const { key } of this.leaves(tree, false)) {
      entries++;
      if (isMain && last !== undefined) demand(compareBytes(last, key) < 0, "the order of the keys");
      if (!isMain) demand(key.length === 8, "a key of the free list");
      last = key;
    }
    demand(entries === tree.entries, "the number of rows");
    demand(this.#branches === tree.branches && this.#leaves === tree.leaves, "the number of pages");
    demand(this.#runs === tree.runs, "the number of pages of large values");
  }

  /** Throws unless every page of the free list is free, and is there once. */
  checkFree(tree: Tree): void {
    for (const { key, value } of this.leaves(tree, true)) {
      demand(number(viewOf(key), 0) <= this.#meta.transaction, "a transaction of the free list");
      const list = viewOf(value());
      demand(list.byteLength >= 8, "an entry of the free list");
      const length = number(list, 0);
      demand((length + 1) * 8 <= list.byteLength, "the length of a free list");
      for (let index = 1; index <= length; index++) {
        const entry = Number(list.getBigInt64(index * 8, true));
        if (entry > 0) this.#free(entry, 1);
        // A negative number says how many pages follow each other from the next one on.
        if (entry >= 0) continue;
        index++;
        demand(index <= length, "a run in the free list");
        this.#free(Number(list.getBigInt64(index * 8, true)), -entry);
      }
    }
  }

  #free(first: number, count: number): void {
    demand(first > 1 && first + count - 1 <= this.#meta.lastPage, "a page of the free list");
    for (let page = first; page < Math.min(first + count, this.#count); page++) {
      demand(this.#used[page] === 0, "a page that is free and used");
      this.#used[page] = 2;
    }
  }

  /** The nodes of a tree's leaves in order. `tolerant`: damaged parts are left out; else they throw. */
  *leaves(tree: Tree, tolerant: boolean): Generator<Leaf> {
    if (tree.root === NO_PAGE) {
      if (!tolerant) demand(tree.depth === 0, "the depth of an empty tree");
      return;
    }
    if (!tolerant) demand(tree.depth >= 1 && tree.depth <= MAX_DEPTH, "the depth of a tree");
    yield* this.#descend(tree.root, Math.min(tree.depth, MAX_DEPTH), tolerant);
  }

  *#descend(number: number, depth: number, tolerant: boolean): Generator<Leaf> {
    const page = tolerant ? orUndefined(() => this.#page(number, depth)) : this.#page(number, depth);
    if (page === undefined) return;
    if (!tolerant) {
      this.#use(number, 1);
      if (depth === 1) this.#leaves++;
      else this.#branches++;
    }
    for (let index = 0; index < page.nodes; index++) {
      const node = tolerant ? orUndefined(() => this.#node(page, index)) : this.#node(page, index);
      if (node === undefined) continue;
      if (depth > 1) yield* this.#descend(node.child, depth - 1, tolerant);
      else {
        // In a strict walk the run of a large value is looked at here, its bytes are not.
        if (!tolerant && node.isBig) this.#run(node, false);
        yield { key: node.key, value: () => this.#value(node) };
      }
    }
  }

  #use(first: number, count: number): void {
    for (let page = first; page < first + count; page++) {
      demand(this.#used[page] === 0, "a page that is used twice");
      this.#used[page] = 1;
    }
  }

  #page(number: number, depth: number): Page {
    demand(number > 1 && number < this.#count, "the number of a page");
    const bytes = this.#read(number, this.#meta.pageBytes);
    const view = viewOf(bytes);
    this.#checkHeader(view, number, depth === 1 ? LEAF : BRANCH);
    const lower = view.getUint16(20, true);
    const upper = view.getUint16(22, true);
    const room = bytes.length - HEADER;
    demand(lower % 2 === 0 && lower <= upper && upper <= room, "the bounds of a page");
    demand(depth === 1 || lower >= 4, "a branch without branches");
    return { bytes, view, upper, nodes: lower / 2, isLeaf: depth === 1 };
  }

  #checkHeader(view: DataView, page: number, flags: number): void {
    demand(number(view, 0) === page && view.getUint16(18, true) === flags, "the header of a page");
    // A page that seems younger than the state it belongs to would be written to in place.
    demand(number(view, 8) <= this.#meta.transaction, "the age of a page");
  }

  #node({ bytes, view, upper, isLeaf }: Page, index: number): Node {
    const offset = view.getUint16(HEADER + index * 2, true);
    const at = HEADER + offset;
    demand(offset >= upper && offset % 2 === 0 && at + NODE <= bytes.length, "the place of a node");
    const low = view.getUint16(at, true) + view.getUint16(at + 2, true) * 65_536;
    const flags = view.getUint16(at + 4, true);
    const keyBytes = view.getUint16(at + 6, true);
    const data = at + NODE + keyBytes;
    demand(keyBytes <= MAX_KEY && data <= bytes.length, "the key of a node");
    const key = bytes.subarray(at + NODE, data);
    if (!isLeaf) return { key, child: low + flags * 4_294_967_296, isBig: false, size: 0, data: bytes.subarray(data) };
    const isBig = flags === BIG;
    demand((flags === 0 || isBig) && keyBytes > 0, "the kind of a node");
    demand(data + (isBig ? RUN_BYTES : low) <= bytes.length, "the value of a node");
    return { key, child: 0, isBig, size: low, data: bytes.subarray(data, data + (isBig ? RUN_BYTES : low)) };
  }

  #value(node: Node): Uint8Array {
    return node.isBig ? this.#run(node, true) : node.data;
  }

  /** The value in a run of pages, checked; read only if wanted. */
  #run({ data, size }: Node, isWanted: boolean): Uint8Array {
    const view = viewOf(data);
    const first = number(view, 0);
    const pages = number(view, 16);
    const { pageBytes } = this.#meta;
    demand(
      size <= MAX_ENVELOPE_BYTES && pages === Math.ceil((HEADER + size) / pageBytes),
      "the length of a large value",
    );
    demand(first > 1 && first + pages <= this.#count, "the place of a large value");
    const header = viewOf(this.#read(first, HEADER));
    this.#checkHeader(header, first, OVERFLOW);
    demand(header.getUint32(20, true) === pages, "the pages of a large value");
    if (isWanted) return this.#read(first, HEADER + size).subarray(HEADER);
    this.#runs += pages;
    this.#use(first, pages);
    return NOTHING;
  }

  #read(page: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    demand(readSync(this.#file, bytes, 0, length, page * this.#meta.pageBytes) === length, "the end of the file");
    return bytes;
  }
}

const NOTHING = new Uint8Array(0);

interface Page {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly upper: number;
  readonly nodes: number;
  readonly isLeaf: boolean;
}

interface Node {
  readonly key: Uint8Array;
  /** Of a branch: the page below. */
  readonly child: number;
  /** Of a leaf: whether `data` says where the value stands. */
  readonly isBig: boolean;
  /** Bytes of the value. */
  readonly size: number;
  readonly data: Uint8Array;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function demand(condition: boolean, what: string): void {
  if (!condition) throw new DamagedFile(`${what} does not check`);
}
