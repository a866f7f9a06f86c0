import { expect, test } from "vitest";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { BroadcastWorld } from "./broadcast-world.ts";
import { EPOCH_MS } from "./epoch.ts";
import type { NodeContext, SimOutput } from "./node.ts";
import { type Ask, Recorder } from "./recorder.ts";
import { World } from "./world.ts";
import type { WorldOptions } from "./world-options.ts";

/** A world of recorders with equal latencies of 10 ms and no jitter. */
class Rig {
  readonly contexts: NodeContext[] = [];
  readonly world: World<Ask>;

  constructor(nodes: number, options: Partial<WorldOptions<Ask, never>> = {}) {
    this.world = new World<Ask>({
      nodes,
      seed: 1,
      network: { minLatencyMs: 10, maxLatencyMs: 10, jitterMs: 0 },
      create: (context) => {
        this.contexts.push(context);
        return new Recorder();
      },
      ...options,
    });
  }

  /** Starts everybody. */
  start(): this {
    for (let index = 0; index < this.world.size; index++) this.world.start(index);
    return this;
  }

  node(index: number): Recorder {
    const node = this.world.node(index);
    if (!(node instanceof Recorder)) throw new Error("not running");
    return node;
  }

  id(index: number): PeerId {
    return this.world.idOf(index);
  }

  ask(index: number, ...outputs: SimOutput[]): void {
    this.world.command(index, { type: "do", outputs });
  }

  send(from: number, to: number, byte: number): void {
    this.ask(from, { type: "send", peer: this.id(to), lane: Lane.gossip, bytes: Uint8Array.of(byte) });
  }
}

test("a dial takes a few round trips and gives both sides a link", () => {
  const rig = new Rig(2).start();
  rig.world.run(1_000);
  rig.ask(0, { type: "dial", peer: rig.id(1) });
  rig.world.run(1_000);
  const [up] = rig.node(0).told("link-up");
  expect(up?.input).toEqual({ type: "link-up", peer: rig.id(1), rttMs: 20 });
  // Offer and answer by way of the server, then five round trips and some work.
  expect(up?.atMs).toBeGreaterThanOrEqual(1_140);
  expect(up?.atMs).toBeLessThanOrEqual(1_360);
  expect(rig.node(1).told("link-up")).toMatchObject([{ input: { peer: rig.id(0) } }]);
  rig.send(1, 0, 7);
  rig.world.run(1_000);
  expect(rig.node(0).messages()).toEqual([[2_010, 7]]);
});

test("two dials of a pair make one link", () => {
  const rig = new Rig(2).start();
  rig.world.run(1_000);
  rig.ask(0, { type: "dial", peer: rig.id(1) });
  rig.ask(1, { type: "dial", peer: rig.id(0) });
  rig.world.run(20_000);
  expect(rig.node(0).told("link-up")).toHaveLength(1);
  expect(rig.node(1).told("link-up")).toHaveLength(1);
  expect(rig.node(0).told("link-down")).toEqual([]);
});

test.each([
  ["a node that does not run", "absent", (rig: Rig) => rig.world.crash(1)],
  ["a frozen node", "absent", (rig: Rig) => rig.world.freeze(1)],
  ["a node in another partition", "no-path", (rig: Rig) => rig.world.change((network) => network.setGroups([0, 1]))],
  ["a node that cannot answer", "no-path", (rig: Rig) => rig.world.change((network) => network.setBlocked(1, 0, true))],
  [
    "anybody while dials fail",
    "no-path",
    (rig: Rig) => {
      rig.world.dialFailure = 1;
    },
  ],
  ["a stranger when signaling is down", "absent", (rig: Rig) => rig.world.signaling.server.set(false)],
])("a dial to %s fails after ten seconds", (_, reason, spoil) => {
  const rig = new Rig(2).start();
  rig.world.run(1_000);
  spoil(rig);
  rig.ask(0, { type: "dial", peer: rig.id(1) });
  rig.world.run(20_000);
  expect(rig.node(0).told("dial-failed")).toEqual([
    { atMs: 11_000, input: { type: "dial-failed", peer: rig.id(1), reason } },
  ]);
});

test("members with links pair through the mesh while signaling is down", () => {
  const rig = new Rig(3).start();
  rig.world.connect(0, 1);
  rig.world.connect(1, 2);
  rig.world.signaling.server.set(false);
  rig.ask(0, { type: "ask", peer: rig.id(2) });
  rig.ask(0, { type: "dial", peer: rig.id(2) });
  rig.world.run(1_000);
  expect(rig.node(2).told("asked")).toEqual([{ atMs: 10, input: { type: "asked", peer: rig.id(0) } }]);
  expect(rig.world.linked(0, 2)).toBe(true);
});

test("who logs in at the signaling server is told what others presented", () => {
  const rig = new Rig(12);
  for (let index = 0; index < 10; index++) {
    rig.world.start(index);
    rig.ask(index, { type: "present", record: Uint8Array.of(index) });
  }
  rig.world.run(1_000);
  rig.world.start(10);
  rig.world.run(1_000);
  const [told] = rig.node(10).told("introduced");
  expect(told?.input.records).toHaveLength(8);
  // A dead member is introduced until the service notices; a service that restarts knows who logs in again.
  rig.world.crash(0);
  rig.world.signaling.server.set(false);
  rig.world.signaling.server.set(true);
  rig.world.run(100);
  rig.world.start(11);
  rig.world.run(1_000);
  const bytes = rig
    .node(11)
    .told("introduced")[0]
    ?.input.records.map((record) => record[0]);
  expect(bytes).not.toContain(0);
  rig.ask(11, { type: "introduce" });
  rig.world.run(1_000);
  expect(rig.node(11).told("introduced")).toHaveLength(2);
});

test("a restarted node is a fresh machine of the next boot with the old disk, and its links replace the silent ones", () => {
  const rig = new Rig(2).start();
  rig.contexts[1]?.disk.set("kept", 1);
  rig.world.connect(0, 1);
  rig.world.crash(1);
  rig.world.run(60_000);
  expect(rig.node(0).told("link-down")).toEqual([]);
  rig.world.start(1);
  rig.world.run(1_000);
  rig.ask(1, { type: "dial", peer: rig.id(0) });
  rig.world.run(1_000);
  expect(rig.contexts.map(({ index, boot }) => [index, boot])).toEqual([
    [0, 1],
    [1, 1],
    [1, 2],
  ]);
  expect(rig.contexts[2]?.disk.get("kept")).toBe(1);
  expect(rig.contexts[2]?.random.u32()).not.toBe(rig.contexts[1]?.random.u32());
  expect(rig.node(0).log.slice(-2)).toMatchObject([
    { input: { type: "link-down", reason: "replaced", deliberate: true } },
    { input: { type: "link-up", peer: rig.id(1) } },
  ]);
});

test("a node that stops closes its links", () => {
  const rig = new Rig(2).start();
  rig.world.connect(0, 1);
  rig.world.stop(1);
  rig.world.run(100);
  expect(rig.node(0).told("link-down")).toMatchObject([{ atMs: 10, input: { reason: "closed", deliberate: true } }]);
});

test("a dropped link ends on both sides", () => {
  const rig = new Rig(2).start();
  rig.world.connect(0, 1);
  rig.ask(0, { type: "drop", peer: rig.id(1), reason: "unwanted" });
  rig.world.run(100);
  expect(rig.node(0).told("link-down")).toMatchObject([{ atMs: 0, input: { reason: "dropped" } }]);
  expect(rig.node(1).told("link-down")).toMatchObject([{ atMs: 10, input: { reason: "closed" } }]);
});

test("a frozen node gets what came meanwhile when it thaws, its time-out late", () => {
  const rig = new Rig(2).start();
  rig.world.connect(0, 1);
  rig.world.run(100);
  rig.world.freeze(1);
  rig.node(1).wakeAt = EPOCH_MS + 200;
  rig.send(0, 1, 7);
  rig.world.run(4_900);
  rig.world.thaw(1);
  rig.world.run(100);
  expect(rig.node(1).messages()).toEqual([[5_000, 7]]);
  expect(rig.node(1).told("timeout")).toMatchObject([{ atMs: 5_000 }]);
});

test("nothing reaches a node that froze for longer than its links live, but their ends", () => {
  const rig = new Rig(2).start();
  rig.world.connect(0, 1);
  rig.world.freeze(1);
  rig.send(0, 1, 7);
  rig.world.run(60_000);
  expect(rig.node(0).told("link-down")).toMatchObject([
    { atMs: 30_000, input: { reason: "stalled", deliberate: false } },
  ]);
  rig.world.thaw(1);
  expect(rig.node(1).messages()).toEqual([]);
  expect(rig.node(1).told("link-down")).toMatchObject([{ atMs: 60_000, input: { reason: "stalled" } }]);
});

test("statements are signed and checked at once, and a forged one comes back as rejected", () => {
  const rig = new Rig(2).start();
  const body = Uint8Array.of(1, 2);
  rig.ask(0, { type: "sign", label: "starling/record/1", body, resume: "signed it" });
  const [signed] = rig.node(0).told("signed");
  expect(signed?.input.resume).toBe("signed it");
  const statement = {
    signer: rig.id(0),
    label: "starling/record/1",
    body,
    signature: signed?.input.signature ?? body,
  } as const;
  const from = rig.id(0);
  const place = new Uint8Array(16).fill(3);
  const facts = { subject: rig.id(0), expiresAt: EPOCH_MS + 1_000, scopes: ["a", "b"], place };
  const token = rig.world.signer.token(facts);
  rig.ask(1, { type: "verify", from, statements: [statement], resume: 1 });
  rig.ask(1, { type: "verify", from, statements: [statement], token, resume: 2 });
  rig.ask(1, { type: "verify", from, statements: [{ ...statement, signer: rig.id(1) }], resume: 3 });
  rig.ask(1, { type: "verify", from, statements: [{ ...statement, body: Uint8Array.of(1, 3) }], resume: 4 });
  rig.ask(1, { type: "verify", from, statements: [{ ...statement, label: "starling/batch/1" }], resume: 5 });
  rig.ask(1, { type: "verify", from, statements: [statement], token: `${token}0`, resume: 6 });
  const others = rig.world.signer.token({ ...facts, subject: rig.id(1) });
  rig.ask(1, { type: "verify", from, statements: [statement], token: others, resume: 7 });
  expect(
    rig
      .node(1)
      .told("verified")
      .map(({ input }) => input),
  ).toEqual([
    { type: "verified", resume: 1 },
    { type: "verified", resume: 2, token: facts },
  ]);
  expect(
    rig
      .node(1)
      .told("rejected")
      .map(({ input }) => input),
  ).toEqual([3, 4, 5, 6, 7].map((resume) => ({ type: "rejected", from, resume })));
  rig.world.run(1_000);
  rig.ask(1, { type: "verify", from, statements: [statement], token, resume: 8 });
  expect(rig.node(1).told("rejected")).toHaveLength(6);
  expect(rig.world.stats.forgeries).toBe(6);
});

test("clocks of nodes differ by a constant, and their deadlines are met by their own clocks", () => {
  const rig = new Rig(5, { clockSkewMs: 1_000 }).start();
  const offsets = rig.contexts.map(({ now }) => now - EPOCH_MS);
  expect(new Set(offsets).size).toBe(5);
  rig.contexts.forEach((context, index) => {
    rig.node(index).wakeAt = context.now + 50;
    rig.ask(index);
  });
  rig.world.run(60);
  for (const [index, offset] of offsets.entries()) {
    expect(rig.node(index).told("timeout")).toMatchObject([{ atMs: offset + 50 }]);
  }
});

test("a node that wants time-outs without end is caught", () => {
  const world = new World({
    nodes: 1,
    seed: 1,
    create: ({ now }) => ({ handle: () => [], deadline: () => now }),
  });
  world.start(0);
  expect(() => world.run(1)).toThrow("node 0 wants time-outs without end");
});

test("two runs of a seed give one digest, and one lost packet another", () => {
  const digestOf = (seed: number, spoil?: (world: BroadcastWorld) => void): string => {
    const world = new BroadcastWorld({ nodes: 30, seed, network: { loss: 0.01 } });
    world.startLinked();
    for (let round = 0; round < 5; round++) {
      world.measure(round, 500);
      if (round === 2) spoil?.(world);
    }
    return world.world.digest;
  };
  expect(digestOf(1)).toBe(digestOf(1));
  expect(digestOf(2)).not.toBe(digestOf(1));
  expect(digestOf(1, (world) => world.world.change((network) => network.setAddedLoss(0.02)))).not.toBe(digestOf(1));
});
