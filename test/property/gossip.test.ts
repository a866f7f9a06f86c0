import fc from "fast-check";
import { expect, test } from "vitest";
import { Broadcast } from "../../src/proto/gossip/broadcast.ts";
import { MAX_HELD_BYTES, MAX_MISSING, MAX_SEEN } from "../../src/proto/gossip/limits.ts";
import {
  decodeBroadcast,
  encodeAnnounce,
  encodeGraft,
  encodePayload,
  encodePrune,
  type MessageId,
  messageIdOf,
  Topic,
} from "../../src/proto/gossip/messages.ts";
import { type PeerId, peerIdOf } from "../../src/proto/peer-id.ts";
import { below, SeededRandom } from "../../src/proto/random.ts";

const peer = (index: number): PeerId => peerIdOf(new Uint8Array(32).fill(index + 1));

const payload = fc.uint8Array({ maxLength: 40 });
const topic = fc.constantFrom(Topic.membership, Topic.replication, Topic.application);
/** A small choice, so that announcements, grafts and payloads meet. */
const id = fc.nat(5).map((value) => messageIdOf(Topic.application, Uint8Array.of(value)));
const message = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc
    .tuple(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 255 }), topic, payload)
    .map(([route, hops, on, content]) => encodePayload(route, hops, on, content)),
  fc.nat(5).map((value) => encodePayload(0x100, 1, Topic.application, Uint8Array.of(value))),
  fc
    .array(fc.record({ id, ageMs: fc.nat(2_000), own: fc.boolean() }), {
      minLength: 1,
      maxLength: 9,
    })
    .map((announcements) => encodeAnnounce(announcements)),
  fc.tuple(fc.array(id, { maxLength: 9 }), fc.boolean()).map(([ids, wanted]) => encodeGraft(ids, wanted)),
  fc.nat(0xffff_ffff).map((tree) => encodePrune(tree)),
);

test("no bytes make the decoder throw, and what it accepts is within the bounds", () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), message), fc.nat(300), fc.nat(255), (bytes, at, value) => {
      const changed = bytes.slice();
      if (changed.length > 0) changed[at % changed.length] = value;
      for (const candidate of [bytes, changed]) {
        const decoded = decodeBroadcast(candidate);
        if (typeof decoded === "string") continue;
        if (decoded.type === "announce") expect(decoded.announcements.length).toBeLessThanOrEqual(512);
        if (decoded.type === "graft") expect(decoded.ids.length).toBeLessThanOrEqual(512);
        if (decoded.type === "payload") expect(decoded.hops).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("whatever neighbours send and consumers answer, the machine stays within its bounds and its deadline moves on", () => {
  const deed = fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant("message" as const), from: fc.nat(3), bytes: message }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(40_000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("up" as const), from: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("down" as const), from: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("publish" as const), content: payload }) },
  );
  const verdict = fc.constantFrom("accept" as const, "ignore" as const, "reject" as const, undefined);
  fc.assert(
    fc.property(
      fc.array(deed, { maxLength: 200, size: "max" }),
      fc.array(verdict, { minLength: 1 }),
      (deeds, verdicts) => {
        const broadcast = new Broadcast(peer(9));
        let now = 1_000;
        let delivered = 0;
        for (let index = 0; index < 4; index++)
          broadcast.handle({ type: "neighbour-up", peer: peer(index), rttMs: 20 }, now);
        const feed = (input: Parameters<Broadcast["handle"]>[0]): void => {
          for (const output of broadcast.handle(input, now)) {
            if (output.type === "send") expect(typeof decodeBroadcast(output.bytes)).toBe("object");
            if (output.type !== "deliver") continue;
            const answer = verdicts[delivered++ % verdicts.length];
            if (answer !== undefined) feed({ type: "verdict", id: output.id, verdict: answer });
          }
        };
        for (const step of deeds) {
          if (step.do === "message") feed({ type: "message", peer: peer(step.from), bytes: step.bytes });
          else if (step.do === "publish") feed({ type: "publish", topic: Topic.membership, payload: step.content });
          else if (step.do === "up") feed({ type: "neighbour-up", peer: peer(step.from), rttMs: 20 });
          else if (step.do === "down") feed({ type: "neighbour-down", peer: peer(step.from) });
          else {
            const until = now + step.ms;
            for (let wakeUps = 0; ; wakeUps++) {
              const deadline = broadcast.deadline() ?? Number.POSITIVE_INFINITY;
              if (deadline > until) break;
              expect(wakeUps).toBeLessThan(1_000);
              now = Math.max(now, deadline);
              feed({ type: "timeout" });
            }
            now = until;
          }
        }
        const { seen, heldBytes, missing } = broadcast.load();
        expect(seen).toBeLessThanOrEqual(MAX_SEEN);
        expect(heldBytes).toBeLessThanOrEqual(MAX_HELD_BYTES);
        expect(missing).toBeLessThanOrEqual(MAX_MISSING);
      },
    ),
    { numRuns: 300 },
  );
});

/** Messages under way from one member to another, in order. */
type Lane = { readonly from: number; readonly to: number; readonly queue: Uint8Array[] };

/** Members on a connected graph whose links deliver in order, but one before the other as the script says. */
class Net {
  readonly members: readonly Broadcast[];
  readonly lanes: Lane[] = [];
  /** By message, how often each member has been given it. */
  readonly deliveries = new Map<MessageId, number[]>();
  now = 1_000;

  constructor(size: number, chords: number, random: SeededRandom) {
    this.members = Array.from({ length: size }, (_, index) => new Broadcast(peer(index)));
    for (let index = 0; index < size; index++) this.#link(index, (index + 1) % size);
    for (let chord = 0; chord < chords; chord++) this.#link(below(random, size), below(random, size));
  }

  #link(a: number, b: number): void {
    if (a === b || this.lanes.some(({ from, to }) => from === a && to === b)) return;
    this.lanes.push({ from: a, to: b, queue: [] }, { from: b, to: a, queue: [] });
    this.input(a, { type: "neighbour-up", peer: peer(b), rttMs: 20 });
    this.input(b, { type: "neighbour-up", peer: peer(a), rttMs: 20 });
  }

  input(member: number, input: Parameters<Broadcast["handle"]>[0]): void {
    for (const output of (this.members[member] as Broadcast).handle(input, this.now)) {
      if (output.type === "send") {
        this.lanes.find(({ from, to }) => from === member && peer(to) === output.peer)?.queue.push(output.bytes);
      } else if (output.type === "deliver") {
        const counts = this.deliveries.get(output.id) as number[];
        counts[member] = (counts[member] as number) + 1;
        this.input(member, { type: "verdict", id: output.id, verdict: "accept" });
      } else throw new Error(`${output.fault} among honest members`);
    }
  }

  publish(member: number, content: Uint8Array): void {
    const name = messageIdOf(Topic.replication, content);
    if (!this.deliveries.has(name))
      this.deliveries.set(
        name,
        this.members.map(() => 0),
      );
    // The publisher has it already.
    const counts = this.deliveries.get(name) as number[];
    if (counts[member] === 0) counts[member] = 1;
    this.input(member, { type: "publish", topic: Topic.replication, payload: content });
  }

  /** The first message of the lane arrives. */
  arrive(lane: Lane): void {
    const bytes = lane.queue.shift();
    if (bytes !== undefined) this.input(lane.to, { type: "message", peer: peer(lane.from), bytes });
  }

  /** The link breaks with everything on it, and is made anew. */
  bounce(lane: Lane): void {
    const back = this.lanes.find(({ from, to }) => from === lane.to && to === lane.from) as Lane;
    lane.queue.length = back.queue.length = 0;
    for (const { from, to } of [lane, back]) this.input(from, { type: "neighbour-down", peer: peer(to) });
    for (const { from, to } of [lane, back]) this.input(from, { type: "neighbour-up", peer: peer(to), rttMs: 20 });
  }

  wait(ms: number): void {
    this.now += ms;
    this.members.forEach((member, index) => {
      if ((member.deadline() ?? Number.POSITIVE_INFINITY) <= this.now) this.input(index, { type: "timeout" });
    });
  }

  /** Lets everything arrive and every patience end. */
  settle(): void {
    for (let round = 0; round < 200; round++) {
      for (const lane of this.lanes) while (lane.queue.length > 0) this.arrive(lane);
      this.wait(20);
    }
  }
}

test("every member is given every broadcast exactly once, in whatever order links deliver and however often they break", () => {
  const script = fc.record({
    seed: fc.nat(),
    size: fc.integer({ min: 2, max: 9 }),
    chords: fc.nat(8),
    // 0 publishes, 1 breaks a link, 2 waits, the rest delivers.
    steps: fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.nat(1_000)), { maxLength: 300, size: "max" }),
  });
  fc.assert(
    fc.property(script, ({ seed, size, chords, steps }) => {
      const net = new Net(size, chords, new SeededRandom(seed));
      for (const [kind, choice] of steps) {
        const lane = net.lanes[choice % net.lanes.length] as Lane;
        // Few different contents: members publish the same ones at the same time.
        if (kind === 0) net.publish(choice % size, Uint8Array.of(choice % 12));
        else if (kind === 1) net.bounce(lane);
        else if (kind === 2) net.wait(choice % 60);
        else net.arrive(lane);
      }
      net.settle();
      for (const counts of net.deliveries.values()) expect(counts).toEqual(counts.map(() => 1));
    }),
    { numRuns: 300 },
  );
});
