/**
 * Histories after Jepsen: a few replicas with disks, random writes, and everything that goes wrong for a while: crashes that take what
 * was not synced, cut links, clocks that are off or jump, lost broadcasts, members declared down. Then all is well, and it is checked that
 * no acknowledged write is lost, nothing deleted comes back, all replicas agree, each key has its copies, and watchers have missed nothing.
 */
import { utf8 } from "../../../src/proto/bytes.ts";
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET } from "../../../src/proto/replication/policy.ts";
import type { ReadEntry } from "../../../src/proto/replication/store.ts";
import { Misfortunes } from "./misfortunes.ts";
import { type Node, World } from "./world.ts";

const NODES = 4;
const KEYS = 12;
const COPIES = 2;
const STEPS = 120;
const STEP_MS = 150;
const SETTLE_MS = 100_000;
const EVERYWHERE = "app";
const PLACED = "two";

/** Runs the history of one seed and returns what was wrong at its end. */
export function runHistory(seed: number): string[] {
  return new History(seed).run();
}

class History {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #misfortunes: Misfortunes;
  /** By request: the bucket and keys that it wrote. */
  readonly #requests = new Map<number, { readonly bucket: string; readonly keys: readonly string[] }>();
  readonly #watchers = new Map<Node, { cursor: number; readonly seen: Map<string, string | null> }>();
  #request = 1_000_000;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed).fork("history");
    this.#world = World.full(seed, NODES, true);
    this.#misfortunes = new Misfortunes(this.#world, this.#random, { outOf: 14, clocks: true, churn: true });
  }

  run(): string[] {
    const world = this.#world;
    world.put(world.node(0), PLACED, encodePolicy({ ...DEFAULT_POLICY, replicas: COPIES }), POLICY_BUCKET);
    world.run(3_000);
    for (const node of world.nodes) this.#watchers.set(node, { cursor: node.replication.cursor, seen: new Map() });
    for (let step = 0; step < STEPS; step++) {
      this.#misfortunes.strike();
      for (let left = below(this.#random, 4); left > 0; left--) this.#write();
      world.run(below(this.#random, 2 * STEP_MS));
      this.#watch();
    }
    this.#misfortunes.end();
    world.run(SETTLE_MS);
    this.#watch();
    return [
      ...this.#acknowledgedAreKept(),
      ...this.#replicasAgree(),
      ...this.#watchersSawAll(),
      ...this.#nobodyIsBlamed(),
    ];
  }

  #write(): void {
    const node = this.#misfortunes.node();
    if (!node.isUp) return;
    const random = this.#random;
    const bucket = below(random, 2) === 0 ? EVERYWHERE : PLACED;
    const request = this.#request++;
    const key = (): string => `key ${below(random, KEYS)}`;
    const replicas = ([1, 2, "quorum", "all"] as const)[below(random, 4)] as number | "quorum" | "all";
    const kind = below(random, 6);
    const keys = kind === 0 ? [...new Set([key(), key(), key()])] : [key()];
    this.#requests.set(request, { bucket, keys });
    const value = utf8(`value ${request}`);
    const common = { request, bucket, replicas };
    if (kind === 0)
      this.#world.input(node, { type: "transaction", ...common, writes: keys.map((name) => ({ key: name, value })) });
    else if (kind < 3) this.#world.input(node, { type: "delete", ...common, key: keys[0] as string });
    else this.#world.input(node, { type: "put", ...common, key: keys[0] as string, value });
  }

  #watch(): void {
    for (const [node, watcher] of this.#watchers) {
      if (!node.isUp) continue;
      for (;;) {
        const page = node.replication.changesSince(watcher.cursor, EVERYWHERE);
        if (page.lost) throw new Error("nothing is forgotten within a minute");
        for (const { key, entry } of page.changes) watcher.seen.set(key, entry.value === null ? null : entry.version);
        if (page.cursor === watcher.cursor) break;
        watcher.cursor = page.cursor;
      }
    }
  }

  /** Every version that anybody was told of, by name. */
  #versions(): Map<string, { readonly bucket: string; readonly entry: ReadEntry }> {
    const versions = new Map<string, { bucket: string; entry: ReadEntry }>();
    for (const { outputs } of this.#world.nodes) {
      for (const output of outputs) {
        if (output.type === "changed")
          versions.set(output.entry.version, { bucket: output.bucket, entry: output.entry });
      }
    }
    return versions;
  }

  /** What a bucket should have under a key: the greatest version that was ever durable anywhere. */
  *#expected(): Generator<{ readonly bucket: string; readonly key: string; readonly winner: ReadEntry }> {
    const winners = new Map<string, { bucket: string; key: string; winner: ReadEntry }>();
    for (const { bucket, entry } of this.#versions().values()) {
      const name = `${bucket}/${entry.key}`;
      const known = winners.get(name);
      if (known === undefined || isLater(entry, known.winner))
        winners.set(name, { bucket, key: entry.key, winner: entry });
    }
    yield* winners.values();
  }

  #acknowledgedAreKept(): string[] {
    const failures: string[] = [];
    const versions = this.#versions();
    const winners = new Map([...this.#expected()].map(({ bucket, key, winner }) => [`${bucket}/${key}`, winner]));
    for (const { outputs } of this.#world.nodes) {
      for (const output of outputs) {
        if (output.type !== "acknowledged") continue;
        const written = versions.get(output.version);
        const request = this.#requests.get(output.request);
        if (request === undefined) continue;
        const key = written?.entry.key ?? request.keys.at(-1);
        const winner = winners.get(`${request.bucket}/${key}`);
        // One that nobody was told of was superseded before it was stored.
        const isKept = winner !== undefined && (written === undefined || !isLater(written.entry, winner));
        if (!isKept) failures.push(`write ${output.request} is lost`);
      }
    }
    return failures;
  }

  #replicasAgree(): string[] {
    const failures: string[] = [];
    const { nodes } = this.#world;
    const digests = new Set(
      nodes.map(({ replication }) => replication.buckets().find(({ name }) => name === EVERYWHERE)?.digest),
    );
    if (digests.size > 1) failures.push("replicas of a bucket that is everywhere differ");
    for (const { bucket, key, winner } of this.#expected()) {
      const held = nodes.map(({ replication }) => replication.get(bucket, key)?.version);
      const wanted = winner.value === null ? undefined : winner.version;
      const right = nodes.map(({ replication }) => (replication.isMine(bucket, key) ? wanted : undefined));
      if (held.join() !== right.join()) {
        failures.push(
          `${bucket}/${key}: ${held.map((version) => version?.slice(0, 6))}, not ${right.map((version) => version?.slice(0, 6))}`,
        );
      }
    }
    return failures;
  }

  #watchersSawAll(): string[] {
    const failures: string[] = [];
    for (const [node, { seen }] of this.#watchers) {
      for (const { bucket, key } of this.#expected()) {
        if (bucket !== EVERYWHERE) continue;
        const stored = node.replication.get(bucket, key)?.version ?? null;
        if ((seen.get(key) ?? null) !== stored) failures.push(`a watcher of ${node.number} missed ${key}`);
      }
    }
    return failures;
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
