import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import type { Account, CarriedSide } from "../../../src/agent/carriage.ts";
import { type Agent, StarlingError } from "../../../src/index.ts";
import { RELAY_REQUEST_RATE } from "../../../src/proto/routing/limits.ts";
import { until } from "../until.ts";
import { estrangedStack } from "./estranged-stack.ts";

/** Two agents that can never connect directly, and what members between them can do to what they carry. */

/** What Carol, who is between the two, does with the messages that she carries. */
const malice = vi.hoisted(() => ({
  seen: [] as Uint8Array[],
  tamper: undefined as ((message: Uint8Array, index: number) => readonly Uint8Array[]) | undefined,
}));

vi.mock(import("../../../src/agent/carriage.ts"), async (original) => {
  const actual = await original();
  return {
    ...actual,
    carry: (a: CarriedSide, b: CarriedSide, account: Account) => actual.carry(tampered(a), tampered(b), account),
  };
});

function tampered({ stream, messages }: CarriedSide): CarriedSide {
  async function* altered(): AsyncGenerator<Uint8Array, void> {
    for (let index = 0; ; index++) {
      const next = await messages.next();
      if (next.done) return;
      malice.seen.push(next.value.slice());
      yield* malice.tamper?.(next.value, index) ?? [next.value];
    }
  }
  return { stream, messages: altered() };
}

let cluster: LocalCluster;
let alice: Agent;
let bob: Agent;
let carol: Agent;

beforeAll(async () => {
  cluster = await openLocalCluster();
  carol = await cluster.join("carol", { rtc: "werift" });
  alice = await cluster.join("alice", { rtc: await estrangedStack("alice", ["bob"]) });
  bob = await cluster.join("bob", { rtc: await estrangedStack("bob", ["alice"]) });
  bob.handle("echo/1", async (stream) => {
    for await (const message of stream) await stream.send(message.slice());
    stream.end();
  });
  await until("Carol is linked with both", () => carol.status().links.length === 2);
  for (const agent of [alice, bob]) await until("all know all", () => agent.members().length === 3);
}, 60_000);

afterAll(async () => {
  malice.tamper = undefined;
  await cluster[Symbol.asyncDispose]();
}, 30_000);

const linkOf = (agent: Agent, peer: Agent) => agent.status().links.find((link) => link.peer === peer.id);

/** Ends the routed link between the two, so that the next stream has to make another. */
async function forget(): Promise<void> {
  malice.tamper = () => [];
  await Promise.allSettled([alice.ping(bob.id, { signal: AbortSignal.timeout(100) })]);
  malice.tamper = (message) => [message, message];
  await Promise.allSettled([alice.ping(bob.id, { signal: AbortSignal.timeout(2_000) })]);
  await until("the routed link is gone", () => !linkOf(alice, bob) && !linkOf(bob, alice));
  malice.tamper = undefined;
  malice.seen = [];
}

test("a stream between two that cannot connect goes through a third, which reads nothing", {
  timeout: 60_000,
}, async () => {
  const stream = await alice.open(bob.id, "echo/1", { signal: AbortSignal.timeout(30_000) });
  const secret = "a word that nobody in between may read";
  await stream.send(secret);
  const answer = await stream[Symbol.asyncIterator]().next();
  expect(new TextDecoder().decode(answer.value as Uint8Array)).toBe(secret);
  for (const [agent, peer] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    expect(linkOf(agent, peer)).toMatchObject({
      path: "routed",
      signaledBy: "mesh",
      localCandidate: `relay ${carol.id}`,
    });
    expect(agent.status().members.find(({ id }) => id === peer.id)).toMatchObject({ state: "alive", path: "routed" });
  }
  expect((await alice.ping(bob.id)).path).toBe("routed");
  const carried = Buffer.concat(malice.seen);
  expect(carried.length).toBeGreaterThan(500);
  expect(carried.includes(secret)).toBe(false);
  expect(carried.includes("echo/1")).toBe(false);
  stream.reset();
});

test("megabytes go through, both ways at once, and a slow reader holds the writer back", {
  timeout: 60_000,
}, async () => {
  const stream = await alice.open(bob.id, "echo/1", { signal: AbortSignal.timeout(30_000) });
  const total = 1_000_000;
  const chunk = new Uint8Array(40_000).fill(7);
  let received = 0;
  const reading = (async () => {
    for await (const message of stream) received += message.length;
  })();
  for (let sent = 0; sent < total; sent += chunk.length) await stream.send(chunk);
  stream.end();
  await reading;
  expect(received).toBe(total);
  let taken = 0;
  const done = Promise.withResolvers<void>();
  bob.handle("slow/1", async () => done.promise);
  const blocked = await alice.open(bob.id, "slow/1");
  const filling = (async () => {
    for (; ; taken += chunk.length) await blocked.send(chunk);
  })().catch((error: unknown) => error);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(taken).toBeLessThan(8_000_000);
  blocked.reset();
  done.resolve();
  expect(await filling).toBeInstanceOf(StarlingError);
});

test.each<[string, (message: Uint8Array, index: number) => readonly Uint8Array[]]>([
  ["alters", (message, index) => (index === 8 ? [message.map((byte, at) => (at === 3 ? byte ^ 1 : byte))] : [message])],
  ["drops", (message, index) => (index === 8 ? [] : [message])],
  ["repeats", (message, index) => (index === 8 ? [message, message] : [message])],
  ["invents", (message, index) => (index === 8 ? [new Uint8Array(64), message] : [message])],
])(
  "a member in between that %s a record ends the channel, and nothing wrong arrives",
  { timeout: 60_000 },
  async (_, tamper) => {
    await forget();
    malice.tamper = tamper;
    const stream = await alice.open(bob.id, "echo/1", { signal: AbortSignal.timeout(30_000) });
    const echoed: number[] = [];
    const sending = (async () => {
      for (let index = 0; index < 200; index++) {
        await stream.send(new Uint8Array(1_000).fill(index));
        const answer = await stream[Symbol.asyncIterator]().next();
        const bytes = answer.value as Uint8Array;
        expect(bytes.every((byte) => byte === index)).toBe(true);
        echoed.push(index);
      }
    })();
    await expect(sending).rejects.toMatchObject({ code: "closed" });
    expect(echoed.length).toBeLessThan(200);
    const faults = { ...alice.counters().faults, ...bob.counters().faults };
    expect(faults["relay-tampered"]).toBeGreaterThan(0);
    malice.tamper = undefined;
  },
);

test("a member that asks for channels without end is cut off, and what makes no sense is its fault", {
  timeout: 60_000,
}, async () => {
  const { burst } = RELAY_REQUEST_RATE;
  const asked = Array.from({ length: burst + 40 }, async () => {
    const stream = await alice.open(carol.id, "starling/relay/1");
    await stream.send(Uint8Array.of(1, 2, 3));
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "peer-refused" });
  });
  await Promise.all(asked);
  const { faults } = carol.counters();
  expect(faults["relay-flood"]).toBeGreaterThan(0);
  expect(faults["relay-malformed"]).toBeGreaterThan(0);
  expect(faults["relay-malformed"]).toBeLessThanOrEqual(burst + 8);
  // Its rate comes back: the next test needs it.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
});

test("the end of the member in between ends the channel, and another member carries the next", {
  timeout: 60_000,
}, async () => {
  malice.tamper = undefined;
  const dave = await cluster.join("dave", { rtc: "werift" });
  await until(
    "Dave is linked with both",
    () => dave.status().links.filter(({ path }) => path === "direct").length === 3,
  );
  const stream = await alice.open(bob.id, "echo/1", { signal: AbortSignal.timeout(30_000) });
  const via = linkOf(alice, bob)?.localCandidate;
  const first = via === `relay ${carol.id}` ? carol : dave;
  await first.close();
  await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "closed" });
  const again = await alice.open(bob.id, "echo/1", { signal: AbortSignal.timeout(30_000) });
  await again.send("still here");
  const answer = await again[Symbol.asyncIterator]().next();
  expect(new TextDecoder().decode(answer.value as Uint8Array)).toBe("still here");
  const other = first === carol ? dave : carol;
  expect(linkOf(alice, bob)?.localCandidate).toBe(`relay ${other.id}`);
});
