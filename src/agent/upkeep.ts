import { readInterfaces } from "../drivers/interfaces.ts";
import type { StateDirectory } from "../drivers/state-directory.ts";
import type { Logger } from "../options.ts";
import type { Mesh } from "../proto/mesh.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { LOOK_MS, Surroundings } from "../proto/session/surroundings.ts";
import type { Connections } from "./connections.ts";
import type { Preparation } from "./prepare.ts";
import type { RelayFinder } from "./relay-finder.ts";
import type { Servers } from "./servers.ts";
import { recordsOf } from "./status-view.ts";

/** While no link stands, members are asked for at this pace and then ever more slowly; with links, to merge what was split. */
const SEEK_MS = 250;
const LONGEST_SEEK_MS = 15_000;
const MERGE_MS = 60_000;
/** Records of members are kept for the next start at this pace, ms: a crash loses a minute of news. */
const REMEMBER_MS = 60_000;
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
/** When members that relay are looked for, ms: when the first records are there, and then at the pace of people who start one. */
const FIRST_RELAY_LOOK_MS = 1_000;
const RELAY_LOOK_MS = 15_000;
/** setTimeout fires at once beyond 2^31 - 1 ms. */
const MAX_TIMER_MS = 2_147_483_647;

/** What an agent does again and again, and its timers, which all end with it. */
export class Upkeep {
  readonly #timers = new Set<NodeJS.Timeout>();
  #seekMs = SEEK_MS;
  #stopped = false;
  #hurries = 0;

  /** Runs `run` after `ms`, at most 2^31 - 1, unless the agent has ended. */
  later(ms: number, run: () => void): void {
    if (this.#stopped) return;
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        run();
      },
      Math.min(ms, MAX_TIMER_MS),
    );
    this.#timers.add(timer);
  }

  /** A link stands: should it go, members are sought quickly again. */
  linked(): void {
    this.#seekMs = SEEK_MS;
  }

  /** Alone, it asks the servers for others; linked, now and then, because a split is merged by one crossing link. */
  seek(mesh: Mesh, servers: Servers): void {
    this.later(this.#seekMs, () => {
      servers.introduce();
      const linked = mesh.links.size > 0;
      this.#seekMs = linked ? SEEK_MS : Math.min(this.#seekMs * 2, LONGEST_SEEK_MS);
      if (linked) this.later(MERGE_MS - SEEK_MS, () => this.seek(mesh, servers));
      else this.seek(mesh, servers);
    });
  }

  /** Nobody answers any more: finds out which servers are there, and for half a minute tries again soon while there is none. */
  isolated(servers: Pick<Servers, "nudge" | "ready">): void {
    servers.nudge();
    const isHurrying = this.#hurries > 0;
    this.#hurries = HURRIES;
    if (!isHurrying) this.#hurry(servers);
  }

  #hurry(servers: Pick<Servers, "nudge" | "ready">): void {
    this.later(HURRY_MS, () => {
      if (!servers.ready) servers.nudge();
      if (--this.#hurries > 0) this.#hurry(servers);
    });
  }

  /** Calls `recall` when it is time for the members of an earlier life. */
  recallMembers(mesh: Mesh, recall: () => void): void {
    this.later(RECALL_ALONE_MS, () => {
      if (mesh.links.size === 0) recall();
      else this.later(RECALL_MS - RECALL_ALONE_MS, recall);
    });
  }

  /** Looks for members that relay, soon and then again and again. */
  lookForRelays(relays: RelayFinder): void {
    this.later(FIRST_RELAY_LOOK_MS, () => {
      relays.look();
      this.#lookAgain(relays);
    });
  }

  #lookAgain(relays: RelayFinder): void {
    this.later(RELAY_LOOK_MS, () => {
      relays.look();
      this.#lookAgain(relays);
    });
  }

  /** Keeps the records of members for the next start, again and again. */
  remember(mesh: Mesh, self: PeerId, state: StateDirectory, log: Logger): void {
    this.later(REMEMBER_MS, () => {
      void remember(mesh, self, state, log).then(() => this.remember(mesh, self, state, log));
    });
  }

  /** Looks again and again whether addresses of this machine have changed, or it slept: what stands may then be cut off. */
  look({ now, log }: Pick<Preparation, "now" | "log">, servers: Servers, connections: Connections): void {
    const surroundings = new Surroundings();
    const look = (): void => {
      const addresses = readInterfaces().map(({ address }) => address);
      const change = surroundings.look(addresses, now());
      const { moved, woke } = change;
      if (moved || woke) {
        log.info("the network of this machine has changed", { moved, woke });
        servers.nudge();
        connections.shaken(change);
      }
      this.later(LOOK_MS, look);
    };
    look();
  }

  /** Ends all timers; none is set any more. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

/** Keeps the records of members for the next start. Never rejects. */
export async function remember(mesh: Mesh, self: PeerId, state: StateDirectory, log: Logger): Promise<void> {
  await state
    .writeMembers(recordsOf(mesh, self))
    .catch((error: unknown) => log.warn("members are not remembered", { error: String(error) }));
}
