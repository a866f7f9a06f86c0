/** One broadcast, as the world saw it. */
export interface Publication {
  readonly key: string;
  readonly by: number;
  readonly at: number;
  /** By node: how often it was delivered there, in the life in which the node was when it was published. */
  readonly times: Uint8Array;
  /** By node: that life (its boot count); 0 for a node that did not run. */
  readonly boots: Uint16Array;
  /** When it was delivered last. */
  lastAt: number;
}

/** Who published what, and where it arrived: what the checkers of broadcast read. */
export class Ledger {
  readonly #publications = new Map<string, Publication>();

  get publications(): Iterable<Publication> {
    return this.#publications.values();
  }

  find(key: string): Publication | undefined {
    return this.#publications.get(key);
  }

  /** @param boots by node: its boot count, 0 when it does not run. */
  published(key: string, by: number, at: number, boots: readonly number[]): void {
    const times = new Uint8Array(boots.length);
    this.#publications.set(key, { key, by, at, times, boots: Uint16Array.from(boots), lastAt: at });
  }

  /** A delivery of something unknown, or in a later life of the node, counts for nothing. */
  delivered(key: string, node: number, boot: number, at: number): void {
    const publication = this.#publications.get(key);
    if (publication === undefined || publication.boots[node] !== boot) return;
    publication.times[node] = (publication.times[node] as number) + 1;
    publication.lastAt = at;
  }
}
