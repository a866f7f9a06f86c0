import { StarlingError } from "../../errors.ts";
import { BoundedQueue } from "../../proto/bounded.ts";
import type { Step } from "./backend.ts";
import { GROUP_BYTES, GROUP_CHANGES, MAX_WAITING_BYTES, MAX_WAITING_CHANGES, SLICE_MS } from "./limits.ts";
import { turn } from "./turn.ts";

/** A change on its way: the row that it concerns, and how it is sealed once its turn comes. */
export interface Pending {
  /** Of several with one name in a group only the last is written; undefined: every one is. */
  readonly row: string | undefined;
  readonly bytes: number;
  seal(): Promise<readonly Step[]>;
}

interface Commit {
  readonly changes: readonly Pending[];
  readonly bytes: number;
  readonly settled: PromiseWithResolvers<void>;
}

/** Commits that go to the disk in one transaction. */
interface Group {
  readonly commits: Commit[];
  readonly rows: Map<string, readonly Step[]>;
  changes: number;
  bytes: number;
}

/**
 * Group commit: while one transaction is on its way to the disk, what arrives is sealed and becomes the next. A single commit
 * waits for nobody, and a thousand together cost little more than one. Commits become durable in the order in which they came.
 *
 * Sealing gives the event loop its turn every few milliseconds.
 */
export class Committer {
  readonly #write: (steps: readonly Step[]) => Promise<void>;
  readonly #queue = new BoundedQueue<Commit>(MAX_WAITING_CHANGES);
  #waitingBytes = 0;
  #waitingChanges = 0;
  #running: Promise<void> | undefined;
  /** The transaction under way. */
  #writing: Promise<void> | undefined;
  #arrival = Promise.withResolvers<void>();
  #sliceBegan = 0;
  /** Changes without a name so far: each gets one of its own. */
  #unnamed = 0;

  constructor(write: (steps: readonly Step[]) => Promise<void>) {
    this.#write = write;
  }

  /** Bytes accepted and not yet durable. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Accepts changes that belong together; settled when they are durable, or have failed. */
  commit(changes: readonly Pending[]): Promise<void> {
    const bytes = changes.reduce((sum, change) => sum + change.bytes, 0);
    const isTooMuch =
      this.#waitingBytes + bytes > MAX_WAITING_BYTES || this.#waitingChanges + changes.length > MAX_WAITING_CHANGES;
    const commit: Commit = { changes, bytes, settled: Promise.withResolvers() };
    if (isTooMuch || !this.#queue.push(commit)) {
      const message = "the disk is slower than the writes: too many wait for it; write less, or try again later";
      return Promise.reject(new StarlingError("limit-reached", message));
    }
    this.#waitingBytes += bytes;
    this.#waitingChanges += changes.length;
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers();
    this.#running ??= this.#run();
    return commit.settled.promise;
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    this.#sliceBegan = performance.now();
    for (;;) {
      const group = await this.#gather();
      if (group === undefined) {
        // Something may have come since nothing was found.
        if (this.#queue.length > 0) continue;
        // What is committed from here on begins another run.
        this.#running = undefined;
        return;
      }
      await this.#writing;
      this.#writing = this.#send(group).finally(() => {
        this.#writing = undefined;
      });
    }
  }

  /** The next group, once it is full, or the disk is free; undefined when nothing waits and the disk is free. */
  async #gather(): Promise<Group | undefined> {
    const group: Group = { commits: [], rows: new Map(), changes: 0, bytes: 0 };
    while (group.bytes < GROUP_BYTES && group.changes < GROUP_CHANGES) {
      const commit = this.#queue.shift();
      if (commit !== undefined) await this.#add(group, commit);
      else if (this.#writing !== undefined) await Promise.race([this.#writing, this.#arrival.promise]);
      else if (group.commits.length > 0) return group;
      else return undefined;
    }
    return group;
  }

  async #add(group: Group, commit: Commit): Promise<void> {
    const sealed = new Map<string, readonly Step[]>();
    try {
      for (const change of commit.changes) {
        const name = change.row ?? `#${this.#unnamed++}`;
        sealed.delete(name);
        sealed.set(name, await change.seal());
        if (performance.now() - this.#sliceBegan < SLICE_MS) continue;
        await turn();
        this.#sliceBegan = performance.now();
      }
    } catch (error) {
      this.#settle(commit, { error });
      return;
    }
    for (const [name, steps] of sealed) {
      // Taken out first: the order of the map is the order of the steps.
      group.rows.delete(name);
      group.rows.set(name, steps);
    }
    group.commits.push(commit);
    group.changes += commit.changes.length;
    group.bytes += commit.bytes;
  }

  async #send(group: Group): Promise<void> {
    const outcome = await this.#write([...group.rows.values()].flat()).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    for (const commit of group.commits) this.#settle(commit, outcome);
  }

  #settle({ bytes, changes, settled }: Commit, failure: { readonly error: unknown } | undefined): void {
    this.#waitingBytes -= bytes;
    this.#waitingChanges -= changes.length;
    if (failure === undefined) settled.resolve();
    else settled.reject(failure.error);
  }
}
