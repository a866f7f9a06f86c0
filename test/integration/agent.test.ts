import { cp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../examples/local-cluster.ts";
import { type Agent, type AgentOptions, createAgent, type MeshStream, StarlingError } from "../../src/index.ts";
import { run } from "./command.ts";
import { until } from "./until.ts";

/** The library as an application uses it: agents in one process, over real WebRTC on loopback. */

let cluster: LocalCluster;
let alice: Agent;
let bob: Agent;
const seen: string[] = [];

beforeAll(async () => {
  cluster = await openLocalCluster();
  alice = await cluster.join("alice", { labels: { site: "home" } });
  for (const type of ["memberup", "memberdown", "memberleft"] as const) {
    alice.addEventListener(type, ({ member }) => seen.push(`${type} ${member.name}`));
  }
  bob = await cluster.join("bob", { rtc: "werift" });
  await until("they are linked", () => alice.status().links.length === 1 && bob.status().links.length === 1);
  await until("both know both", () => alice.members().length === 2 && bob.members().length === 2);
}, 30_000);

afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
}, 20_000);

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no error",
    (error: unknown) => (error instanceof StarlingError ? error.code : `untyped: ${String(error)}`),
  );

/** Opens a stream from Alice to Bob and returns both ends. */
async function streamPair(protocol: string): Promise<{ ours: MeshStream; theirs: MeshStream }> {
  const theirs = new Promise<MeshStream>((resolve) => bob.handle(protocol, resolve));
  const ours = await alice.open(bob.id, protocol);
  return { ours, theirs: await theirs };
}

async function read(stream: MeshStream): Promise<string[]> {
  const decoder = new TextDecoder();
  const texts: string[] = [];
  for await (const message of stream) texts.push(decoder.decode(message));
  return texts;
}

describe("start and end", () => {
  test("options out of their bounds are refused before anything is opened", async () => {
    const wrong: AgentOptions[] = [
      { name: "" },
      { name: "x".repeat(65) },
      { labels: { "": "x" } },
      { labels: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`k${index}`, ""])) },
      { signaling: ["http://127.0.0.1"] },
    ];
    for (const options of wrong) {
      const start = createAgent({
        ...options,
        invite: cluster.invite,
        stateDirectory: join(cluster.directory, "wrong"),
      });
      expect(await codeOf(start), JSON.stringify(options)).toBe("usage");
    }
    expect(await codeOf(createAgent({ invite: "starling1-xyz" }))).toBe("invite-invalid");
    expect(await codeOf(createAgent({ stateDirectory: join(cluster.directory, "bare") }))).toBe("no-cluster");
    expect(await codeOf(createAgent({ stateDirectory: join(cluster.directory, "alice") }))).toBe("state-locked");
  });

  test("a start is cancelled by its signal, before and while it waits for a server", async () => {
    const at = (name: string): AgentOptions => ({
      invite: cluster.invite,
      stateDirectory: join(cluster.directory, name),
    });
    const stateOfAlice = { stateDirectory: join(cluster.directory, "early") };
    expect(await codeOf(createAgent({ ...at("early"), signal: AbortSignal.abort() }))).toBe("aborted");
    const waiting = { ...at("late"), signaling: ["ws://127.0.0.1:9"], signal: AbortSignal.timeout(300) };
    expect(await codeOf(createAgent(waiting))).toBe("aborted");
    // Both gave everything back: their directories can be used, and one that holds a token is cancelled as well.
    await (await createAgent(at("early"))).close();
    expect(await codeOf(createAgent({ ...stateOfAlice, signal: AbortSignal.abort() }))).toBe("aborted");
  });

  test("who leaves is left, who closes is down, and closed resolves with nothing for both", async () => {
    const carol = await cluster.join("carol");
    const dave = await cluster.join("dave");
    await until("alice knows both", () => seen.includes("memberup carol") && seen.includes("memberup dave"));
    await until("both are linked", () => carol.status().links.length === 3 && dave.status().links.length === 3);
    await Promise.all([carol.leave(), carol.leave()]);
    expect(await carol.closed).toBeUndefined();
    await until("carol has left", () => seen.includes("memberleft carol"));
    {
      await using owner = dave;
      expect(owner.status().self.state).toBe("joined");
    }
    expect(await dave.closed).toBeUndefined();
    await dave.close();
    await until("dave is down", () => seen.includes("memberdown dave"));
    expect(seen).not.toContain("memberdown carol");
    expect(await codeOf(dave.bucket("any").put("k", "v"))).toBe("closed");
    expect(await codeOf(dave.open(alice.id, "any/1"))).toBe("closed");
  });

  test("an agent whose key is used by a newer one ends with identity-in-use", async () => {
    const first = await cluster.join("twin");
    await cp(join(cluster.directory, "twin"), join(cluster.directory, "twin-copy"), {
      recursive: true,
      filter: (source) => !source.endsWith("lock"),
    });
    const second = await cluster.join("twin-copy");
    expect(second.id).toBe(first.id);
    expect((await first.closed)?.code).toBe("identity-in-use");
    await second.leave();
  });

  for (const [stack, verb] of [
    ["native", "dispose"],
    ["werift", "dispose"],
    ["native", "leave"],
    ["werift", "leave"],
  ] as const) {
    test(`a process on ${stack} exits by itself after ${verb}, with nothing left open`, async () => {
      const child = join(import.meta.dirname, "agent-child.ts");
      const folder = join(cluster.directory, `child-${stack}-${verb}`);
      const outcome = await run(process.execPath, [child, cluster.invite, folder, stack, verb]);
      const gone = Date.now();
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
      const { at, open } = JSON.parse(outcome.stdout) as { at: number; open: string[] };
      expect(open).toEqual([]);
      expect(gone - at).toBeLessThan(3_000);
    });
  }
});

describe("buckets", () => {
  test("a value put by one is had by the other when put resolves with two replicas", async () => {
    const written = await alice.bucket("app").put("greeting", "hello", { replicas: 2 });
    expect(written).toEqual({ version: expect.stringMatching(/^[0-9a-f]{64}$/), replicas: 2 });
    const entry = await bob.bucket("app").get("greeting");
    expect(entry).toMatchObject({ key: "greeting", version: written.version, author: alice.id });
    expect(entry?.text()).toBe("hello");
    expect(Math.abs(Date.now() - (entry?.writtenAt.getTime() ?? 0))).toBeLessThan(60_000);
    expect(await bob.bucket("other").get("greeting")).toBeUndefined();
  });

  test("a list is in the order of keys, by prefix, in pages; a deletion is seen by a watcher", async () => {
    const ours = alice.bucket("list");
    for (const key of ["b/2", "a", "b/1", "c"]) await ours.put(key, key.toUpperCase(), { replicas: 2 });
    const theirs = bob.bucket("list");
    const keys = async (options = {}): Promise<string[]> => (await theirs.list(options)).map(({ key }) => key);
    expect(await keys()).toEqual(["a", "b/1", "b/2", "c"]);
    expect(await keys({ prefix: "b/" })).toEqual(["b/1", "b/2"]);
    expect(await keys({ after: "a", limit: 2 })).toEqual(["b/1", "b/2"]);
    const stop = new AbortController();
    const changes: [string, string | undefined][] = [];
    const watching = (async () => {
      for await (const change of theirs.watch({ prefix: "b/", initial: true, signal: stop.signal })) {
        changes.push([change.key, change.value && change.text()]);
        if (change.key === "b/1" && change.value !== undefined) await ours.delete("b/1", { replicas: 2 });
        if (change.value === undefined) stop.abort();
      }
    })();
    await watching;
    expect(changes).toEqual([
      ["b/1", "B/1"],
      ["b/2", "B/2"],
      ["b/1", undefined],
    ]);
    expect(await theirs.get("b/1")).toBeUndefined();
  });

  test("what cannot be written is refused with a code that says why", async () => {
    const bucket = alice.bucket("errors");
    expect(await codeOf(alice.bucket("Not A Name").put("k", "v"))).toBe("usage");
    expect(await codeOf(bucket.put("", "v"))).toBe("usage");
    expect(await codeOf(bucket.put("k", "v", { replicas: 0 }))).toBe("usage");
    expect(await codeOf(bucket.put("k", new Uint8Array(8 * 1_048_576 + 1)))).toBe("limit-reached");
    expect(await codeOf(bucket.put("k", "v", { replicas: 60, timeoutMs: 200 }))).toBe("timeout");
    expect((await bob.bucket("errors").get("k"))?.text()).toBe("v");
    expect(await codeOf(bucket.put("k", "v", { signal: AbortSignal.abort() }))).toBe("aborted");
    const waiting = bucket.put("k", "w", { replicas: 60, signal: AbortSignal.timeout(100) });
    expect(await codeOf(waiting)).toBe("aborted");
  });
});

describe("streams", () => {
  test("ten thousand messages arrive once each, in order, with their boundaries", async () => {
    const { ours, theirs } = await streamPair("order/1");
    const sending = (async () => {
      for (let count = 0; count < 10_000; count++) await ours.send(`${count}`);
      ours.end();
    })();
    const texts = await read(theirs);
    await sending;
    expect(texts).toHaveLength(10_000);
    expect(texts.findIndex((text, index) => text !== String(index))).toBe(-1);
    theirs.end();
    await Promise.all([ours.closed, theirs.closed]);
  });

  test("a sender waits for a reader that does not read, and goes on when it does", async () => {
    const { ours, theirs } = await streamPair("slow/1");
    const message = new Uint8Array(16_384).fill(7);
    let queued = 0;
    while (ours.offer(message) && queued < 10_000) queued++;
    const before = queued;
    expect(before).toBeLessThan(1_000);
    const more = Math.ceil((32 * 1_048_576) / message.length);
    let sent = false;
    const sending = (async () => {
      for (let count = 0; count < more; count++) await ours.send(message);
      ours.end();
      sent = true;
    })();
    const echo = await streamPair("beside/1");
    await echo.ours.send("not held up");
    for await (const _message of echo.theirs) break;
    expect(sent).toBe(false);
    let bytes = 0;
    for await (const received of theirs) bytes += received.length;
    await sending;
    expect(bytes).toBe((before + more) * message.length);
  });

  test("each direction ends by itself", async () => {
    const { ours, theirs } = await streamPair("half/1");
    await ours.send("question");
    ours.end();
    expect(await read(theirs)).toEqual(["question"]);
    await theirs.send("answer");
    theirs.end();
    expect(await read(ours)).toEqual(["answer"]);
    await Promise.all([ours.closed, theirs.closed]);
    expect(await codeOf(ours.send("too late"))).toBe("closed");
  });

  test("a reset ends both directions, and both sides learn it by a typed error", async () => {
    const { ours, theirs } = await streamPair("reset/1");
    const reading = codeOf(read(ours));
    theirs.reset(17);
    expect(await reading).toBe("peer-refused");
    expect(await codeOf(theirs.send("x"))).toBe("closed");
    await Promise.all([ours.closed, theirs.closed]);
  });

  test("a protocol that nobody handles, or no longer, is refused with a typed error", async () => {
    expect(await codeOf(read(await alice.open(bob.id, "unknown/1")))).toBe("peer-refused");
    bob.handle("known/1", (stream) => stream.end());
    bob.handle("known/1", undefined);
    expect(await codeOf(read(await alice.open(bob.id, "known/1")))).toBe("peer-refused");
  });

  test("a handler that throws, at once or later, costs its stream and nothing else", async () => {
    bob.handle("thrower/1", () => {
      throw new Error("a bug of the application");
    });
    const stream = await alice.open(bob.id, "thrower/1");
    await stream.closed;
    expect((await alice.ping(bob.id)).rttMs).toBeGreaterThan(0);
  });

  test("ping measures, and nobody is found where nobody is", async () => {
    expect(await alice.ping(bob.id)).toEqual({ rttMs: expect.any(Number), path: "direct" });
    const stranger = "a".repeat(52) as typeof bob.id;
    expect(await codeOf(alice.ping(stranger))).toBe("not-found");
    expect(await codeOf(alice.open(stranger, "x/1"))).toBe("not-found");
    expect(await codeOf(alice.open(alice.id, "x/1"))).toBe("usage");
    expect(await codeOf(alice.ping(bob.id, { signal: AbortSignal.abort() }))).toBe("aborted");
  });

  test("64 pings at a time are answered, and the next one is refused at once", async () => {
    const pings = Array.from({ length: 65 }, () => alice.ping(bob.id));
    const settled = await Promise.allSettled(pings);
    const answered = settled.filter(({ status }) => status === "fulfilled");
    expect(answered).toHaveLength(64);
    expect(settled[64]).toMatchObject({ status: "rejected", reason: { code: "limit-reached" } });
    expect((await alice.ping(bob.id)).rttMs).toBeGreaterThan(0);
  });
});

test("links that come and go leave no memory behind", async () => {
  const soak = join(import.meta.dirname, "../soak/links.ts");
  const outcome = await run(process.execPath, ["--expose-gc", soak, "60"], { timeoutMs: 60_000 });
  // Its own verdict is for a thousand cycles: in sixty the engine is still warming up.
  expect(outcome.stderr).toBe("");
  const { heapBytesPerCycle } = JSON.parse(outcome.stdout) as { heapBytesPerCycle: number };
  // Measured: 9 KB while the engine is still warming up (nothing after 300 cycles), 28 KB when each link is kept.
  expect(heapBytesPerCycle).toBeLessThan(16_384);
}, 70_000);
