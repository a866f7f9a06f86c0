/** A document that two real agents edit: at once, while one is away, across a restart, beside a member that does harm. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Doc, encodeStateAsUpdate } from "yjs";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { type Agent, createAgent } from "../../../src/index.ts";
import { YjsProvider } from "../../../src/yjs/provider.ts";
import { until } from "../until.ts";

let cluster: LocalCluster;
let alice: Agent;
let bob: Agent;

beforeAll(async () => {
  cluster = await openLocalCluster();
  alice = await cluster.join("alice");
  bob = await cluster.join("bob");
  await until("they are linked", () => alice.status().links.length === 1 && bob.status().links.length === 1);
}, 30_000);

afterAll(async () => {
  await bob.close();
  await cluster[Symbol.asyncDispose]();
}, 20_000);

const text = (doc: Doc): string => doc.getText("body").toString();
const write = (doc: Doc, words: string): void => doc.getText("body").insert(text(doc).length, words);

async function pair(name: string) {
  const docs = [new Doc(), new Doc()] as const;
  const providers = [new YjsProvider(alice, name, docs[0]), new YjsProvider(bob, name, docs[1])] as const;
  await Promise.all(providers.map(({ synced }) => synced));
  const end = () => Promise.all(providers.map((provider) => provider.destroy()));
  return { docs, providers, end };
}

test("edits at both at once are merged at both, and in the store, where each member has one key", async () => {
  const { docs, providers, end } = await pair("both");
  for (let word = 0; word < 50; word++) {
    write(docs[0], `a${word} `);
    write(docs[1], `b${word} `);
    if (word % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 60));
  }
  await until("both have all words", () => docs.every((doc) => text(doc).split(" ").length === 101));
  expect(text(docs[0])).toBe(text(docs[1]));
  await Promise.all(providers.map((provider) => provider.flush()));
  const keys = async () => (await alice.bucket("documents").list({ prefix: "both/" })).map(({ key }) => key).sort();
  await until("both parts are stored", async () => (await keys()).length === 2);
  expect(await keys()).toEqual([`both/${alice.id}`, `both/${bob.id}`].sort());
  expect(providers.map(({ refused }) => refused)).toEqual([0, 0]);
  await end();
}, 30_000);

test("an edit is at the other member long before it is stored", async () => {
  const { docs, end } = await pair("live");
  const before = (await bob.bucket("documents").list({ prefix: "live/" })).length;
  write(docs[0], "quick");
  await until("it is there", () => text(docs[1]) === "quick");
  expect((await bob.bucket("documents").list({ prefix: "live/" })).length).toBe(before);
  await end();
}, 30_000);

test("what was edited before there was a provider, and while a member was away, is merged when it is back", async () => {
  const first = new Doc();
  write(first, "written offline. ");
  const second = new Doc();
  await using atBob = new YjsProvider(bob, "away", second);
  await atBob.synced;
  write(second, "written meanwhile. ");
  await atBob.flush();
  const atAlice = new YjsProvider(alice, "away", first);
  await until("both have both", () =>
    [first, second].every((doc) => text(doc).includes("offline") && text(doc).includes("meanwhile")),
  );
  expect(text(first)).toBe(text(second));
  await atAlice.destroy();
  write(first, "alone. ");
  write(second, "without her. ");
  await atBob.flush();
  await using again = new YjsProvider(alice, "away", first);
  await again.synced;
  await until(
    "both are one again",
    () => text(first) === text(second) && text(first).includes("alone") && text(first).includes("without"),
  );
}, 30_000);

test("a document is there again after a restart of its only member, also what was edited last", async () => {
  const folder = join(cluster.directory, "carol");
  const carol = await cluster.join("carol");
  const before = new Doc();
  const provider = new YjsProvider(carol, "kept", before);
  write(before, "before the restart");
  await provider.destroy();
  await carol.close();
  const again = await createAgent({ stateDirectory: folder, name: "carol" });
  const after = new Doc();
  await using reopened = new YjsProvider(again, "kept", after);
  await reopened.synced;
  expect(text(after)).toBe("before the restart");
  write(after, ", and after");
  await reopened.flush();
  await until("others have all of it", async () => {
    const part = await bob.bucket("documents").get(`kept/${again.id}`);
    return part?.value !== undefined && Buffer.from(part.value).includes("and after");
  });
  await reopened.destroy();
  await again.leave();
}, 60_000);

test("members see where the others are, until they go", async () => {
  const { providers, end } = await pair("presence");
  const [atAlice, atBob] = providers;
  const names = ({ awareness }: YjsProvider) =>
    [...awareness.getStates().values()]
      .map((state) => state["name"])
      .filter(Boolean)
      .sort();
  atAlice.awareness.setLocalState({ name: "alice" });
  atBob.awareness.setLocalState({ name: "bob" });
  await until("each sees the other", () => providers.every((provider) => names(provider).join() === "alice,bob"));
  await atBob.destroy();
  await until("bob is gone", () => names(atAlice).join() === "alice");
  const late = new YjsProvider(bob, "presence", new Doc());
  await until("who comes later is told", () => names(late).join() === "alice");
  await late.destroy();
  await end();
}, 30_000);

test("a member that posts and stores what does harm changes nothing, is counted, and what it overwrote comes back", async () => {
  const mallory = await cluster.join("mallory");
  await until("all are linked", () => mallory.status().links.length === 2);
  const { docs, providers, end } = await pair("target");
  const [atAlice, atBob] = providers;
  write(docs[0], "precious");
  await atAlice.flush();
  await until("bob has it", () => text(docs[1]) === "precious");
  atAlice.awareness.setLocalState({ name: "alice" });
  await until("bob sees alice", () => atBob.awareness.getStates().size > 1);
  const cut = encodeStateAsUpdate(docs[0]).slice(0, -3);
  for (const bytes of [
    new Uint8Array(),
    Uint8Array.of(1),
    Uint8Array.of(1, ...cut),
    Uint8Array.of(2, 255, 255),
    Uint8Array.of(9),
    new Uint8Array(5_000).fill(255),
  ])
    mallory.publish("yjs/target", bytes);
  const bucket = mallory.bucket("documents");
  await bucket.put(`target/${mallory.id}`, new Uint8Array(100_000).fill(7));
  await bucket.put(`target/${alice.id}`, "mine now");
  await bucket.delete(`target/${bob.id}`);
  await until("all of it is refused", () => providers.every(({ refused }) => refused >= 8));
  expect(docs.map(text)).toEqual(["precious", "precious"]);
  expect([...atBob.awareness.getStates().values()]).toContainEqual({ name: "alice" });
  await until("the store has it again", async () => (await bucket.get(`target/${alice.id}`))?.author === alice.id);
  const fresh = new Doc();
  await using reader = new YjsProvider(mallory, "target", fresh);
  await reader.synced;
  await until("a newcomer reads it", () => text(fresh) === "precious");
  write(docs[1], " still");
  await until("they go on", () => text(docs[0]) === "precious still");
  await end();
  await reader.destroy();
  await mallory.leave();
}, 60_000);

test("a name that is none, a bucket that is not everywhere and a second provider are refused with the reason", async () => {
  const doc = new Doc();
  expect(() => new YjsProvider(alice, "no name", doc)).toThrow(/1 to 60/);
  await alice.bucket("few").setPolicy({ replicas: 2 });
  expect(() => new YjsProvider(alice, "n", doc, { bucket: "few" })).toThrow(/on every member/);
  await using _provider = new YjsProvider(alice, "once", doc);
  expect(() => new YjsProvider(alice, "once", doc)).toThrow(/already/);
}, 30_000);
