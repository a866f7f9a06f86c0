import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { chooseStack } from "../../../src/agent/stacks.ts";
import type { StarlingError } from "../../../src/errors.ts";
import type { MeshStream } from "../../../src/index.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { until } from "../until.ts";
import { type End, linked, type Person, person, streamOf } from "./ends.ts";
import { FragileStack } from "./fragile-stack.ts";
import { Numbered } from "./numbered.ts";

let cluster: LocalCluster;
let alice: Person;
let bob: Person;
const ends: End[] = [];

beforeAll(async () => {
  cluster = await openLocalCluster();
  [alice, bob] = await Promise.all([person(cluster), person(cluster)]);
}, 30_000);

afterAll(async () => {
  for (const { connections } of ends) connections.close();
  await cluster[Symbol.asyncDispose]();
}, 20_000);

async function open(who: Person, stack: FragileStack): Promise<End> {
  const end = await who(stack);
  ends.push(end);
  return end;
}

async function pairOf(word: "native" | "werift"): Promise<{ one: End; two: End; stack: FragileStack }> {
  const stack = new FragileStack(await chooseStack(word));
  const [one, two] = [await open(alice, stack), await open(bob, stack)];
  await linked(one, two);
  return { one, two, stack };
}

/** How the stream ends: the code of its error, or that it ended in good order. */
async function endOf(stream: MeshStream): Promise<string> {
  try {
    for await (const _ of stream);
    return "ended";
  } catch (error) {
    return (error as StarlingError).code;
  }
}

describe.each(["native", "werift"] as const)("a link over %s that is renewed", (word) => {
  test("carries streams and lanes on without a loss, and the mesh hears of nothing", async () => {
    const { one, two, stack } = await pairOf(word);
    const stream = new Numbered(...(await streamOf(one, two)));
    await stream.recovery();
    let posted = 0;
    const post = setInterval(() => {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, posted++);
      one.link?.send(Lane.gossip, bytes);
    }, 3);
    for (const sides of [[one], [two], [one, two]]) {
      const { made } = stack;
      const startedAt = Date.now();
      for (const side of sides) side.connections.renew((side.other as End).id, "better-path");
      const isNew = ({ link }: End) => link !== undefined && Date.now() - link.status().sinceMs > startedAt;
      await until("both use another connection", () => [one, two].every(isNew));
      expect(stack.made).toBeGreaterThanOrEqual(made + 2);
      await stream.recovery();
    }
    clearInterval(post);
    await stream.finish();
    await until("all lane messages have come", () => two.lane.length === posted);
    expect(two.lane).toEqual(Array.from({ length: posted }, (_, number) => number));
    expect([one.told, two.told]).toEqual([["up"], ["up"]]);
  }, 40_000);

  test("is not given up for probes that were lost with the connection before", async () => {
    const { one, two } = await pairOf(word);
    const startedAt = Date.now();
    one.connections.renew(two.id, "moved");
    const isNew = ({ link }: End) => link !== undefined && Date.now() - link.status().sinceMs > startedAt;
    await until("both use another connection", () => [one, two].every(isNew));
    one.link?.unanswered();
    two.link?.unanswered();
    expect([one.told, two.told]).toEqual([["up"], ["up"]]);
    await pause(3_100);
    one.link?.unanswered();
    expect(one.told).toEqual(["up", "down: silent"]);
  }, 40_000);

  test("falls back on what it has when no other connection comes about", async () => {
    const { one, two, stack } = await pairOf(word);
    const stream = new Numbered(...(await streamOf(one, two)));
    await stream.recovery();
    one.letters = false;
    one.connections.renew(two.id, "better-path");
    await pause(300);
    await stream.recovery();
    one.letters = true;
    stack.sealed = true;
    await stream.finish();
    expect([one.told, two.told]).toEqual([["up"], ["up"]]);
  }, 40_000);
});

test.each([0, 5, 10, 20, 40])(
  "a link that is ended %d ms after its renewal began ends on both sides",
  async (ms) => {
    const { one, two } = await pairOf("native");
    const [ours, theirs] = await streamOf(one, two);
    const seen = Promise.all([endOf(ours), endOf(theirs)]);
    one.connections.renew(two.id, "better-path");
    await pause(ms);
    one.connections.drop(two.id, "unwanted");
    // Whoever missed the goodbye asks for the session, and learns that it is no more.
    expect(await seen).toEqual(["closed", "closed"]);
  },
  30_000,
);

describe("a session whose connection is gone", () => {
  test("takes messages up to its bound and delivers them when there is a connection again", async () => {
    const { one, two, stack } = await pairOf("native");
    const [ours, theirs] = await streamOf(one, two);
    await ours.send("first");
    one.letters = two.letters = false;
    stack.kill();
    await until("both have noticed", () => !one.link && !two.link);
    const chunk = new Uint8Array(65_536);
    let taken = 0;
    while (ours.offer(chunk)) taken++;
    expect(taken).toBeGreaterThan(60);
    expect(taken * chunk.length).toBeLessThanOrEqual(4 * 1_048_576 + chunk.length);
    const waiting = ours.send("last");
    one.letters = two.letters = true;
    one.connections.dial(two.id);
    const lengths: number[] = [];
    const reading = (async () => {
      for await (const message of theirs) lengths.push(message.length);
    })();
    await waiting;
    ours.end();
    await reading;
    expect(lengths).toEqual([5, ...Array<number>(taken).fill(chunk.length), 4]);
  }, 40_000);

  test("is over for a peer whose process has started anew, though it proves the same identity", async () => {
    const { one, two, stack } = await pairOf("native");
    const [ours] = await streamOf(one, two);
    const end = endOf(ours);
    one.letters = two.letters = false;
    stack.kill();
    await until("they have lost each other", () => !one.link && !two.link);
    two.connections.close();
    const again = await open(bob, stack);
    one.letters = true;
    // What it knew of the session before it stopped helps it to nothing.
    await linked(again, one);
    expect(await end).toBe("closed");
    expect(one.link?.busy).toBe(false);
  }, 40_000);

  test.each([
    ["leaves, or whose membership ends", (one: End) => Object.assign(one, { isOut: true })],
    [
      "announces another start",
      (one: End) =>
        Object.assign(one, { other: { id: one.other?.id, trust: { box: { publicKey: new Uint8Array(32) } } } }),
    ],
  ])(
    "ends at once when its peer %s",
    async (_, change) => {
      const { one, two, stack } = await pairOf("native");
      const [ours, theirs] = await streamOf(one, two);
      const [end, theirEnd] = [endOf(ours), endOf(theirs)];
      one.letters = two.letters = false;
      stack.kill();
      await until("both have noticed", () => !one.link && !two.link);
      expect(await Promise.race([end, pause(50, "it waits")])).toBe("it waits");
      change(one);
      one.connections.memberChanged(two.id);
      expect(await end).toBe("closed");
      two.connections.close();
      expect(await theirEnd).toBe("closed");
    },
    40_000,
  );
});
