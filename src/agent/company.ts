import type { Timers } from "../host/timers.ts";
import type { Mesh } from "../proto/mesh.ts";
import type { Servers } from "./servers.ts";

/** While no link stands, members are asked for at this pace and then ever more slowly; with links, to merge what was split. */
const SEEK_MS = 250;
const LONGEST_SEEK_MS = 15_000;
const MERGE_MS = 60_000;
/**
 * How often, ms, and how many times servers are tried again when nobody answers any more: the network of this machine may have been gone, and back-off is for
 * servers that were, with thousands of agents that still have each other.
 */
const HURRY_MS = 2_000;
const HURRIES = 15;
/**
 * When an agent falls back on the members that it remembers, ms: they are held for down until they say otherwise, and that takes seconds where
 * a member that is there tells who else is in one exchange. Alone, and once that exchange is over.
 */
const RECALL_ALONE_MS = 2_000;
const RECALL_MS = 10_000;

/** When an agent looks for other members: at its servers, again and again, and in its own memory. */
export class Company {
  readonly #timers: Pick<Timers, "later">;
  readonly #servers: Pick<Servers, "introduce" | "nudge" | "ready">;
  #seekMs = SEEK_MS;
  #hurries = 0;

  constructor(timers: Pick<Timers, "later">, servers: Pick<Servers, "introduce" | "nudge" | "ready">) {
    this.#timers = timers;
    this.#servers = servers;
  }

  /** Begins to look; calls `recall` when it is time for the members of an earlier life. */
  begin(mesh: Pick<Mesh, "links">, recall: () => void): void {
    this.#seek(mesh);
    this.#timers.later(RECALL_ALONE_MS, () => {
      if (mesh.links.size === 0) recall();
      else this.#timers.later(RECALL_MS - RECALL_ALONE_MS, recall);
    });
  }

  /** A link stands: should it go, members are sought quickly again. */
  linked(): void {
    this.#seekMs = SEEK_MS;
  }

  /** Nobody answers any more: finds out which servers are there, and for half a minute tries again soon while there is none. */
  isolated(): void {
    this.#servers.nudge();
    const isHurrying = this.#hurries > 0;
    this.#hurries = HURRIES;
    if (!isHurrying) this.#hurry();
  }

  /** Alone, it asks the servers for others; linked, now and then, because a split is merged by one crossing link. */
  #seek(mesh: Pick<Mesh, "links">): void {
    this.#timers.later(this.#seekMs, () => {
      this.#servers.introduce();
      const linked = mesh.links.size > 0;
      this.#seekMs = linked ? SEEK_MS : Math.min(this.#seekMs * 2, LONGEST_SEEK_MS);
      if (linked) this.#timers.later(MERGE_MS - SEEK_MS, () => this.#seek(mesh));
      else this.#seek(mesh);
    });
  }

  #hurry(): void {
    this.#timers.later(HURRY_MS, () => {
      if (!this.#servers.ready) this.#servers.nudge();
      if (--this.#hurries > 0) this.#hurry();
    });
  }
}
