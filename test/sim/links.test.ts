import { expect, test } from "vitest";
import { peerIdOf } from "../../src/proto/peer-id.ts";
import type { Random } from "../../src/proto/random.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { EventHeap } from "./event-heap.ts";
import { type End, type LinkHost, Links, nextRetransmission } from "./links.ts";
import { Network, type NetworkOptions } from "./network.ts";
import type { LinkDownReason, MessageInput } from "./node.ts";

const A = peerIdOf(new Uint8Array(32).fill(1));
const B = peerIdOf(new Uint8Array(32).fill(2));

/** Says which packets are lost: one letter each, `x` for lost; after the last letter none is. */
class Fate implements Random {
  fates = "";

  u32(): number {
    const fate = this.fates[0];
    this.fates = this.fates.slice(1);
    return fate === "x" ? 0 : 0xffff_ffff;
  }

  fork(): Random {
    return this;
  }
}

/** One link between two members, 20 ms apart, under a clock. */
class Rig implements LinkHost {
  now = 0;
  readonly heap = new EventHeap();
  readonly fate = new Fate();
  readonly network: Network;
  readonly links: Links;
  readonly a: End;
  readonly b: End;
  /** What arrived or ended, with its time. */
  readonly log: (readonly [atMs: number, what: string])[] = [];
  frozen = false;

  constructor(options: NetworkOptions = {}) {
    this.network = new Network(2, this.fate, {
      minLatencyMs: 20,
      maxLatencyMs: 20,
      jitterMs: 0,
      loss: 0.5,
      ...options,
    });
    this.links = new Links(this, this.network, this.fate, 0);
    [this.a, this.b] = this.links.connect(0, A, 1, B);
  }

  isFrozen(member: number): boolean {
    return member === 1 && this.frozen;
  }

  deliver(_member: number, message: MessageInput): void {
    this.log.push([Math.round(this.now), String.fromCharCode(message.bytes[0] as number)]);
  }

  linkDown(end: End, reason: LinkDownReason): void {
    this.log.push([Math.round(this.now), `${end.member === 0 ? "a" : "b"} ${reason}`]);
  }

  /** Sends a letter; `fates` tells what becomes of its packets and their copies. */
  send(letter: string, fates = "", bytes = 40, end = this.a): void {
    this.fate.fates = fates;
    const content = new Uint8Array(bytes);
    content[0] = letter.charCodeAt(0);
    this.links.send(end, { type: "message", peer: A, lane: Lane.gossip, bytes: content });
    this.fate.fates = "";
  }

  run(until: number): void {
    while (this.heap.next() <= until) {
      this.now = this.heap.next();
      this.links.due(this.heap.pop());
    }
    this.now = until;
  }

  change(edit: (network: Network) => void): void {
    edit(this.network);
    this.links.refresh();
  }
}

const cut = (network: Network): void => network.setGroups([0, 1]);
const heal = (network: Network): void => network.heal();

test("a message arrives after the latency of the pair", () => {
  const rig = new Rig();
  rig.send("1");
  rig.run(100);
  expect(rig.log).toEqual([[20, "1"]]);
});

test("a lost message with nothing behind it is resent after 1 s, 2 s and 4 s", () => {
  const rig = new Rig();
  rig.send("1", "x");
  rig.run(5_000);
  rig.send("2", "xxx");
  rig.run(20_000);
  expect(rig.log).toEqual([
    [1_020, "1"],
    [5_000 + 7_020, "2"],
  ]);
});

test("what is sent behind a lost message reports the loss, and waits for the copy", () => {
  const rig = new Rig();
  rig.send("1", "x");
  rig.run(100);
  rig.send("2");
  rig.send("3");
  rig.run(2_000);
  // One and a half round trips of 40 ms after the report.
  expect(rig.log).toEqual([
    [160, "1"],
    [160, "2"],
    [160, "3"],
  ]);
});

test("a loss inside a message of many packets is reported by the message itself", () => {
  const rig = new Rig();
  rig.send("1", "xoo", 3_000);
  rig.run(2_000);
  expect(rig.log).toEqual([[80, "1"]]);
});

test("the order of messages survives any loss", () => {
  const rig = new Rig();
  const letters = "abcdefghijklmnopqrstuvwxyz";
  [...letters].forEach((letter, index) => {
    rig.send(letter, index % 3 === 0 ? "x" : index % 7 === 0 ? "xx" : "");
    rig.run(rig.now + 13);
  });
  rig.run(60_000);
  expect(rig.log.map(([, letter]) => letter).join("")).toBe(letters);
});

test("a link on which nothing gets through dies after 30 s, on both sides", () => {
  const rig = new Rig();
  rig.run(1_000);
  rig.change(cut);
  rig.run(5_000);
  rig.send("1");
  rig.run(60_000);
  expect(rig.log).toEqual([
    [31_000, "b stalled"],
    [31_000, "a stalled"],
  ]);
});

test("a link without traffic dies in a partition too, but not in one that ends in time", () => {
  const rig = new Rig();
  rig.change(cut);
  rig.run(29_000);
  rig.change(heal);
  rig.run(100_000);
  expect(rig.log).toEqual([]);
  rig.change(cut);
  rig.run(200_000);
  expect(rig.log).toEqual([
    [130_000, "a stalled"],
    [130_000, "b stalled"],
  ]);
});

test("what was sent in a partition arrives with the first retransmission after it, and what was under way arrives", () => {
  const rig = new Rig();
  rig.send("1");
  rig.run(10);
  rig.change(cut);
  rig.run(1_000);
  rig.send("2");
  rig.send("3");
  rig.run(3_500);
  rig.change(heal);
  rig.run(10_000);
  // Sent at 1 s; resent at 2 s, 4 s, 8 s.
  expect(rig.log).toEqual([
    [20, "1"],
    [4_020, "2"],
    [4_020, "3"],
  ]);
});

test("one direction can be cut alone", () => {
  const rig = new Rig();
  rig.change((network) => network.setBlocked(0, 1, true));
  rig.send("1");
  rig.send("2", "", 40, rig.b);
  rig.run(10_000);
  expect(rig.log).toEqual([[20, "2"]]);
});

test("a killed process is never noticed, though what it had sent arrives", () => {
  const rig = new Rig();
  rig.send("1");
  rig.send("2", "x");
  rig.send("3", "", 40, rig.b);
  rig.links.vanish(rig.a);
  for (let second = 0; second < 100; second++) {
    rig.send("4", "", 40, rig.b);
    rig.run(rig.now + 1_000);
  }
  expect(rig.log).toEqual([[20, "1"]]);
  expect(rig.b.open).toBe(true);
});

test("a close arrives behind what was sent, and the side that closes hears nothing more", () => {
  const rig = new Rig();
  rig.send("1", "x");
  rig.send("2", "", 40, rig.b);
  rig.links.close(rig.a, "dropped");
  rig.run(5_000);
  expect(rig.log).toEqual([
    [0, "a dropped"],
    [1_020, "1"],
    [1_020, "b closed"],
  ]);
});

test("a close that does not get through leaves the other side half open for 30 s", () => {
  const rig = new Rig();
  rig.change(cut);
  rig.links.close(rig.a, "dropped");
  rig.run(10_000);
  rig.send("1", "", 40, rig.b);
  rig.run(100_000);
  expect(rig.log).toEqual([
    [0, "a dropped"],
    [30_000, "b stalled"],
  ]);
});

test("messages for a frozen node wait, and kill the link after 30 s", () => {
  const rig = new Rig();
  rig.frozen = true;
  rig.send("1");
  rig.run(5_000);
  rig.frozen = false;
  rig.links.thaw(rig.b);
  rig.run(6_000);
  rig.frozen = true;
  rig.send("2");
  rig.run(100_000);
  expect(rig.log).toEqual([
    [5_000, "1"],
    [36_000, "a stalled"],
    [36_000, "b stalled"],
  ]);
});

test("a narrow line delays what follows a large message", () => {
  const rig = new Rig({ bytesPerMs: 10, loss: 0 });
  rig.send("1", "", 1_000);
  rig.send("2", "", 100);
  rig.run(1_000);
  expect(rig.log).toEqual([
    [120, "1"],
    [130, "2"],
  ]);
});

test("a link that takes no more dies instead of growing", () => {
  const rig = new Rig();
  rig.change(cut);
  for (let count = 0; count < 16_385; count++) rig.send("1");
  expect(rig.log).toEqual([
    [0, "a overflow"],
    [0, "b overflow"],
  ]);
});

test("slower and faster networks keep the order on a link", () => {
  const rig = new Rig({ loss: 0 });
  rig.change((network) => network.setStretch(10));
  rig.send("1");
  rig.run(1);
  rig.change((network) => network.setStretch(1));
  rig.send("2");
  rig.run(1_000);
  expect(rig.log).toEqual([
    [200, "1"],
    [200, "2"],
  ]);
});

test("retransmissions come 1, 3, 7, 15 s after the first try", () => {
  expect([0, 1, 1_001, 3_001, 7_001].map((now) => nextRetransmission(0, now))).toEqual([
    0, 1_000, 3_000, 7_000, 15_000,
  ]);
});
