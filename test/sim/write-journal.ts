import type { ReadEntry } from "../../src/proto/replication/store.ts";

/** A version of a key, and who was seen to take it. */
interface Version {
  readonly bucket: string;
  readonly entry: ReadEntry;
  acknowledged: boolean;
  /** Nodes that have it on their disks. */
  readonly holders: number[];
}

/** Every version that any node has stored, and which of them were acknowledged to their writer: what checkers of writes read. */
export class WriteJournal {
  readonly #versions = new Map<string, Version>();
  /** By node and key: the version that it stored last, in whichever life: it is told of what is durable. */
  readonly #latest = new Map<string, ReadEntry>();
  acknowledgements = 0;

  get versions(): Iterable<Version> {
    return this.#versions.values();
  }

  changed(node: number, { bucket, entry }: { readonly bucket: string; readonly entry: ReadEntry }): void {
    let version = this.#versions.get(entry.version);
    if (version === undefined) {
      version = { bucket, entry, acknowledged: false, holders: [] };
      this.#versions.set(entry.version, version);
    }
    version.holders.push(node);
    this.#latest.set(`${node} ${bucket}/${entry.key}`, entry);
  }

  /** The writer was told that enough members have `version`. */
  acknowledged(version: string): void {
    const known = this.#versions.get(version);
    if (known === undefined) return;
    known.acknowledged = true;
    this.acknowledgements++;
  }

  /** What a node has stored last under a key. */
  latest(node: number, bucket: string, key: string): ReadEntry | undefined {
    return this.#latest.get(`${node} ${bucket}/${key}`);
  }
}

/** Whether `a` is `b` or wins over it: the later clock, then the greater author. */
export function isAtLeast(a: ReadEntry, b: ReadEntry): boolean {
  return a.clock !== b.clock ? a.clock > b.clock : a.author >= b.author;
}
