/**
 * One random life of four replicas and an outlaw. Tokens live a minute and are renewed, some too late; members and tokens are
 * revoked as of now, of a while ago or of a little later, while entries are under way; some hear of it at once, some after a
 * crash, some across a cut. The outlaw goes on writing under what it has. Goal: all replicas end equal, with nothing that is void, and of
 * each key with the greatest version that is not, where no void one had taken its place.
 */
import { utf8 } from "../../../src/proto/bytes.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import { below, SeededRandom } from "../../../src/proto/random.ts";
import type { ReadEntry } from "../../../src/proto/replication/store.ts";
import { Misfortunes } from "./misfortunes.ts";
import { type Node, tokenFor, World } from "./world.ts";

const NODES = 4;
const KEYS = 8;
const STEPS = 120;
const STEP_MS = 1_500;
const SETTLE_MS = 100_000;
const TOKEN_LIFE_MS = 60_000;
/** Half of a token's life, and now and then too late. */
const RENEW_AFTER_MS = 30_000;
const SCOPES = "kv:write:*";

/** What came of a history. */
export interface Outcome {
  readonly wrong: string[];
  /** Versions that were stored somewhere and are void in the end. */
  readonly withdrawn: number;
  /** Writes that were refused for want of a valid token. */
  readonly late: number;
}

/** Runs the history of one seed. */
export function runAuthorship(seed: number): Outcome {
  return new AuthorshipHistory(seed).run();
}

interface Decree {
  readonly target: string;
  readonly since: Instant;
  readonly heard: Set<Node>;
}

class AuthorshipHistory {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #misfortunes: Misfortunes;
  readonly #renewAt = new Map<Node, Instant>();
  readonly #decrees: Decree[] = [];
  readonly #watchers = new Map<Node, { cursor: number; readonly seen: Map<string, string> }>();
  readonly #versions = new Map<string, ReadEntry>();
  readonly #tokens = new Map<string, string>();
  readonly #noted = new Map<Node, number>();
  #request = 1_000_000;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed).fork("authorship");
    this.#world = World.full(seed, NODES, true);
    this.#misfortunes = new Misfortunes(this.#world, this.#random, { outOf: 12 });
    for (const node of this.#world.nodes) this.#renew(node);
    for (const node of this.#world.nodes)
      this.#watchers.set(node, { cursor: node.replication.cursor, seen: new Map() });
  }

  run(): Outcome {
    const world = this.#world;
    for (let step = 0; step < STEPS; step++) {
      this.#misfortunes.strike();
      for (const node of world.nodes) if ((this.#renewAt.get(node) ?? 0) <= world.now) this.#renew(node);
      if (below(this.#random, 12) === 0) this.#revoke();
      this.#spread();
      for (let left = below(this.#random, 4); left > 0; left--) this.#write();
      // Long enough for what was written to be on its author's disk.
      world.run(10 + below(this.#random, 2 * STEP_MS));
      this.#note();
      this.#watch();
    }
    this.#misfortunes.end();
    for (const decree of this.#decrees) for (const node of world.nodes) this.#hear(decree, node);
    world.run(SETTLE_MS);
    this.#watch();
    return this.#outcome();
  }

  /** Who is revoked gets no other token, and writes on under the one that it has. */
  #renew(node: Node): void {
    const { now } = this.#world;
    const isOut = this.#decrees.some(({ target }) => target === node.id);
    if (!isOut) this.#world.renew(node, tokenFor(node.id, SCOPES, now - 1_000, now + TOKEN_LIFE_MS));
    this.#renewAt.set(node, now + RENEW_AFTER_MS + below(this.#random, 2 * TOKEN_LIFE_MS - RENEW_AFTER_MS));
  }

  /** The last node, or any token: an honest member whose token is revoked gets another. */
  #revoke(): void {
    const node = below(this.#random, 4) === 0 ? this.#misfortunes.node() : this.#world.node(NODES - 1);
    const isToken = node.number < NODES - 1 || below(this.#random, 2) === 0;
    const since = this.#world.now - 20_000 + below(this.#random, 25_000);
    this.#decrees.push({ target: isToken ? node.token : node.id, since, heard: new Set() });
    if (isToken) this.#renew(node);
  }

  #hear(decree: Decree, node: Node): void {
    if (decree.heard.has(node) || !node.isUp) return;
    decree.heard.add(node);
    // What a node knows is kept: it is there again after a crash.
    this.#world.revoke(node, decree.target, decree.since);
  }

  /** Some hear of some decrees; an outlaw does not want to. */
  #spread(): void {
    for (const decree of this.#decrees) {
      const node = this.#misfortunes.node();
      if (decree.target !== node.id && below(this.#random, 3) === 0) this.#hear(decree, node);
    }
  }

  #write(): void {
    const node = this.#misfortunes.node();
    if (!node.isUp) return;
    const request = this.#request++;
    const key = (): string => `key ${below(this.#random, KEYS)}`;
    const value = utf8(`value ${request}`);
    const common = { request, bucket: "app", replicas: 1 };
    const kind = below(this.#random, 6);
    if (kind === 0) {
      const writes = [...new Set([key(), key(), key()])].map((name) => ({ key: name, value }));
      this.#world.input(node, { type: "transaction", ...common, writes });
    } else if (kind === 1) this.#world.input(node, { type: "delete", ...common, key: key() });
    else if (kind === 2)
      this.#world.input(node, { type: "put", ...common, key: key(), value: new Uint8Array(60_000).fill(request) });
    else this.#world.input(node, { type: "put", ...common, key: key(), value });
  }

  /** Under which token each version was written: that which its author has until the next step. */
  #note(): void {
    for (const node of this.#world.nodes) {
      const { outputs, id, token } = node;
      for (let at = this.#noted.get(node) ?? 0; at < outputs.length; at++) {
        const output = outputs[at];
        if (output?.type !== "changed") continue;
        const { entry } = output;
        if (entry.author === id && !this.#tokens.has(entry.version)) this.#tokens.set(entry.version, token);
        if (!this.#versions.has(entry.version)) this.#versions.set(entry.version, entry);
      }
      this.#noted.set(node, outputs.length);
    }
  }

  #watch(): void {
    for (const [node, watcher] of this.#watchers) {
      if (!node.isUp) continue;
      for (;;) {
        const page = node.replication.changesSince(watcher.cursor, "app");
        if (page.lost) {
          watcher.seen.clear();
          for (const entry of node.replication.list("app", { limit: 1_000 }).entries)
            watcher.seen.set(entry.key, entry.version);
        }
        for (const { key, entry } of page.changes) {
          if (entry.value === null) watcher.seen.delete(key);
          else watcher.seen.set(key, entry.version);
        }
        if (page.cursor === watcher.cursor && !page.lost) break;
        watcher.cursor = page.cursor;
      }
    }
  }

  /** By what every replica knows in the end. */
  #isVoid({ author, version, writtenAt }: ReadEntry): boolean {
    const token = this.#tokens.get(version);
    return this.#decrees.some(({ target, since }) => (target === author || target === token) && writtenAt >= since);
  }

  #outcome(): Outcome {
    this.#note();
    const wrong: string[] = [];
    const { nodes } = this.#world;
    const digests = new Set(nodes.map(({ replication }) => JSON.stringify(replication.buckets())));
    if (digests.size > 1) wrong.push("replicas differ");
    for (const { number, replication } of nodes) {
      for (const entry of replication.list("app", { limit: 1_000 }).entries) {
        if (this.#isVoid(entry)) wrong.push(`${number} has ${entry.key}, which is void`);
      }
    }
    wrong.push(...this.#lastAreThere(), ...this.#watchersSawAll(), ...this.#nobodyIsBlamed());
    const withdrawn = [...this.#versions.values()].filter((entry) => this.#isVoid(entry)).length;
    const late = nodes.flatMap(({ outputs }) => outputs.filter((output) => output.type === "refused")).length;
    return { wrong, withdrawn, late };
  }

  /** The greatest version of a key is there if it counts: one that came after all void ones, or beside none. */
  #lastAreThere(): string[] {
    const wrong: string[] = [];
    const greatest = new Map<string, ReadEntry>();
    for (const entry of this.#versions.values()) {
      const known = greatest.get(entry.key);
      if (known === undefined || isLater(entry, known)) greatest.set(entry.key, entry);
    }
    for (const [key, entry] of greatest) {
      if (this.#isVoid(entry)) continue;
      const wanted = entry.value === null ? undefined : entry.version;
      for (const { number, replication } of this.#world.nodes) {
        if (replication.get("app", key)?.version !== wanted) wrong.push(`${number} lacks the last write of ${key}`);
      }
    }
    return wrong;
  }

  #watchersSawAll(): string[] {
    const wrong: string[] = [];
    for (const [node, { seen }] of this.#watchers) {
      const there = node.replication
        .list("app", { limit: 1_000 })
        .entries.map(({ key, version }) => `${key} ${version}`);
      const told = [...seen].map(([key, version]) => `${key} ${version}`);
      if (there.sort().join() !== told.sort().join()) wrong.push(`a watcher of ${node.number} was told something else`);
    }
    return wrong;
  }

  #nobodyIsBlamed(): string[] {
    return this.#world.nodes.flatMap(({ number, outputs }) =>
      outputs.flatMap((output) =>
        output.type === "fault" && output.peer !== undefined ? [`${number} blames somebody: ${output.fault}`] : [],
      ),
    );
  }
}

function isLater(a: ReadEntry, b: ReadEntry): boolean {
  return a.clock !== b.clock ? a.clock > b.clock : a.author > b.author;
}
