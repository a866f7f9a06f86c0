import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { TopicAgent, type TopicHost } from "../../../src/agent/topics.ts";
import { controlHandlers } from "../../../src/cli/handlers.ts";
import { type Agent, StarlingError, type TopicMessage } from "../../../src/index.ts";
import { until } from "../until.ts";

/** Topics between agents over real WebRTC on loopback. */

let cluster: LocalCluster;
let agents: Agent[];

beforeAll(async () => {
  cluster = await openLocalCluster();
  agents = [];
  for (const name of ["alice", "bob", "carol"]) agents.push(await cluster.join(name));
  await until("all are linked", () => agents.every((agent) => agent.status().links.length === 2));
  await until("all know all", () => agents.every((agent) => agent.members().length === 3));
}, 30_000);

afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
}, 20_000);

/** Collects what comes on a topic until `stop` is aborted. */
function collect(agent: Agent, topic: string, stop: AbortController): { texts: string[]; done: Promise<void> } {
  const texts: string[] = [];
  const messages = agent.subscribe(topic, { signal: stop.signal });
  const done = (async () => {
    for await (const message of messages) texts.push(`${message.from.slice(0, 8)} ${message.text()}`);
  })();
  return { texts, done };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "no error";
  } catch (error) {
    return error instanceof StarlingError ? error.code : String(error);
  }
}

test("what one publishes all subscribers of the topic get once, the publisher's own included, and no others", async () => {
  const [alice, bob, carol] = agents as [Agent, Agent, Agent];
  const stop = new AbortController();
  const readers = agents.map((agent) => collect(agent, "news", stop));
  const other = collect(bob, "weather", stop);
  alice.publish("news", "one");
  alice.publish("news", "one");
  carol.publish("news", new TextEncoder().encode("two"));
  const expected = [`${alice.id.slice(0, 8)} one`, `${alice.id.slice(0, 8)} one`, `${carol.id.slice(0, 8)} two`].sort();
  await until("everybody has all three", () => readers.every(({ texts }) => texts.length === 3));
  for (const { texts } of readers) expect([...texts].sort()).toEqual(expected);
  expect(other.texts).toEqual([]);
  stop.abort();
  await Promise.all([...readers, other].map(({ done }) => done));
  alice.publish("news", "nobody listens");
});

test("what must not be published throws a typed error that says why", () => {
  const [alice] = agents as [Agent];
  expect(codeOf(() => alice.publish("not a topic", "x"))).toBe("usage");
  expect(codeOf(() => alice.subscribe("*"))).toBe("usage");
  expect(codeOf(() => alice.publish("big", new Uint8Array(16_385)))).toBe("limit-reached");
  const codes = Array.from({ length: 80 }, (_, number) => codeOf(() => alice.publish("fast", `${number}`)));
  expect(new Set(codes)).toEqual(new Set(["no error", "limit-reached"]));
});

test("messages wait for a reader that comes to them later", async () => {
  const [, bob] = agents as [Agent, Agent];
  const messages = bob.subscribe("slow");
  for (let number = 0; number < 20; number++) bob.publish("slow", `${number}`);
  const texts: string[] = [];
  for await (const message of messages) {
    texts.push(message.text());
    if (texts.length === 20) break;
  }
  expect(texts).toEqual(Array.from({ length: 20 }, (_, number) => `${number}`));
  expect(await messages.next()).toEqual({ done: true, value: undefined });
});

test("the control socket's commands publish and subscribe", async () => {
  const [alice, bob] = agents as [Agent, Agent];
  const stop = new AbortController();
  const events: unknown[] = [];
  const subscribe = controlHandlers(bob, async () => undefined).get("topic.subscribe");
  const publish = controlHandlers(alice, async () => undefined).get("topic.publish");
  const reading = subscribe?.({ topic: "cli" }, (event) => events.push(event), stop.signal);
  const payload = Buffer.from("hello").toString("base64");
  // Alice has just used up her burst.
  const publishes = (): Promise<boolean> =>
    Promise.resolve(publish?.({ topic: "cli", payload }, () => undefined, stop.signal)).then(() => true);
  await until("the rate allows one more", publishes);
  await until("it is there", () => events.length === 1);
  expect(events[0]).toEqual({ topic: "cli", from: alice.id, publishedAt: expect.any(String), payload });
  stop.abort();
  await reading;
});

/** An agent that is nothing but its topics. */
class TopicsOnly extends TopicAgent {
  readonly published: string[] = [];
  readonly #scopes: readonly string[];

  constructor(scopes: readonly string[]) {
    super();
    this.#scopes = scopes;
  }

  hear(topic: string, text: string): void {
    const payload = new TextEncoder().encode(text);
    this.posted({ author: (agents[0] as Agent).id, topic, time: 0, nonce: new Uint8Array(8), payload });
  }

  override close(): Promise<void> {
    return Promise.resolve();
  }

  protected override topicHost(): TopicHost {
    const publish = (topic: string): void => void this.published.push(topic);
    return { scopes: this.#scopes, now: 0, ended: new Promise(() => undefined), isClosed: false, publish };
  }
}

test("a token's scopes guard the agent's own doors, topic by topic", () => {
  const agent = new TopicsOnly(["topic:publish:in", "topic:subscribe:out"]);
  agent.publish("in", "x");
  expect(agent.published).toEqual(["in"]);
  expect(codeOf(() => agent.publish("out", "x"))).toBe("permission-denied");
  expect(codeOf(() => agent.subscribe("in"))).toBe("permission-denied");
  expect(codeOf(() => agent.subscribe("out"))).toBe("no error");
});

test("a reader that does not read loses the oldest messages, and subscriptions are bounded", async () => {
  const agent = new TopicsOnly(["*"]);
  const messages = agent.subscribe("t");
  for (let number = 0; number < 1_030; number++) agent.hear("t", `${number}`);
  const first = await messages.next();
  expect(first.done === true ? "" : first.value.text()).toBe("6");
  const more = Array.from({ length: 300 }, () => codeOf(() => agent.subscribe("t")));
  expect(more.filter((code) => code === "no error")).toHaveLength(255);
  expect(new Set(more)).toEqual(new Set(["no error", "limit-reached"]));
  await messages.return?.();
  expect(codeOf(() => agent.subscribe("t"))).toBe("no error");
});

test("a subscription ends with its agent, and a closed agent publishes nothing", async () => {
  const dave = await cluster.join("dave");
  const messages: AsyncIterableIterator<TopicMessage> = dave.subscribe("end");
  const last = messages.next();
  await dave.close();
  expect(await last).toEqual({ done: true, value: undefined });
  expect(codeOf(() => dave.publish("end", "x"))).toBe("closed");
});
