import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { chooseStack } from "../../../src/agent/stacks.ts";
import type { Agent, MeshStream } from "../../../src/index.ts";
import { until } from "../until.ts";
import { FragileStack } from "./fragile-stack.ts";
import { Numbered } from "./numbered.ts";

describe.each(["native", "werift"] as const)("a stream of numbered messages over %s", (word) => {
  let cluster: LocalCluster;
  let alice: Agent;
  let bob: Agent;
  let stack: FragileStack;

  beforeAll(async () => {
    cluster = await openLocalCluster();
    stack = new FragileStack(await chooseStack(word));
    alice = await cluster.join("alice", { rtc: stack });
    bob = await cluster.join("bob", { rtc: word });
    await until("they are linked", () => alice.status().links.length === 1 && bob.status().links.length === 1);
    await until("both know both", () => alice.members().length === 2 && bob.members().length === 2);
  }, 30_000);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 20_000);

  async function numbered(): Promise<Numbered> {
    const theirs = new Promise<MeshStream>((resolve) => bob.handle("numbers/1", resolve));
    const ours = await alice.open(bob.id, "numbers/1");
    const stream = new Numbered(ours, await theirs);
    await stream.recovery();
    return stream;
  }

  test("goes on within 6 s when the path dies in silence, with none lost, doubled or reordered", async () => {
    const stream = await numbered();
    const took: number[] = [];
    for (let round = 0; round < 2; round++) {
      stack.mute();
      took.push(await stream.recovery());
    }
    await stream.finish();
    console.info(`${word}: messages pass again after ${took.map(Math.round).join(" and ")} ms`);
    expect(Math.max(...took)).toBeLessThan(6_000);
  }, 60_000);

  test("goes on when the connection closes beneath it, again and again", async () => {
    const stream = await numbered();
    for (let round = 0; round < 4; round++) {
      stack.kill();
      await stream.recovery();
    }
    await stream.finish();
  }, 60_000);
});
