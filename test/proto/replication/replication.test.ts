import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import type { MessageId } from "../../../src/proto/gossip/messages.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { batchBody, type Parcel, statementOf, versionOf } from "../../../src/proto/replication/batch.ts";
import type { Arrival, ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { clockAt } from "../../../src/proto/replication/hlc.ts";
import { DEFAULT_QUOTAS, type Quotas } from "../../../src/proto/replication/limits.ts";
import { encodeAck, encodeBatchMessage } from "../../../src/proto/replication/messages.ts";
import { decodeMessage } from "../../../src/proto/replication/parse-message.ts";
import { Replication } from "../../../src/proto/replication/replication.ts";
import type { Verify } from "../../../src/proto/signed.ts";
import { type Content, makeBatch } from "./make.ts";
import { check, factsOf, fakeSignature, peerNumber, START, tokenFor } from "./world.ts";

const self = peerNumber(0);
const writer = peerNumber(1);
const other = peerNumber(2);

function replica(
  options: { readonly scopes?: string; readonly members?: number; readonly quotas?: Quotas } = {},
): Replication {
  const random = new SeededRandom(1);
  const tokenOf = (member: PeerId): string => tokenFor(member);
  const replication = new Replication({ self, random, tokenOf, quotas: options.quotas ?? DEFAULT_QUOTAS });
  const scopes = (options.scopes ?? "kv:write:*").split(",");
  replication.handle({ type: "credentials", token: tokenFor(self), scopes, expiresAt: START + 86_400_000 }, START);
  replication.handle({ type: "members", count: options.members ?? 3 }, START);
  return replication;
}

function ofType<T extends ReplicationOutput["type"]>(
  outputs: readonly ReplicationOutput[],
  type: T,
): Extract<ReplicationOutput, { readonly type: T }>[] {
  return outputs.filter((output): output is Extract<ReplicationOutput, { readonly type: T }> => output.type === type);
}

/** Lets time pass until nothing is due and signs whatever is to be signed. */
function flush(replication: Replication, now: Instant): ReplicationOutput[] {
  const all: ReplicationOutput[] = [];
  while ((replication.deadline() ?? Number.POSITIVE_INFINITY) <= now) {
    for (const output of replication.handle({ type: "timeout" }, now)) {
      all.push(output);
      if (output.type !== "sign") continue;
      const signature = fakeSignature(self, output.body);
      all.push(...replication.handle({ type: "signed", signature, resume: output.resume }, now));
    }
  }
  return all;
}

/** Delivers a batch as a broadcast and answers its verification. */
function deliver(replication: Replication, number: number, contents: readonly Content[], at = START, now = at) {
  const { batch, entries } = makeBatch(number, contents, at);
  return deliverBytes(replication, encodeBatchMessage(batch, entries), now);
}

function deliverBytes(replication: Replication, payload: Uint8Array, now: Instant): ReplicationOutput[] {
  const id = `id ${payload.length}` as MessageId;
  const outputs = [...replication.handle({ type: "delivered", id, from: other, payload }, now)];
  for (const effect of ofType(outputs, "verify")) outputs.push(...verified(replication, effect, now));
  return outputs;
}

function verified(replication: Replication, effect: Verify<Arrival>, now: Instant): readonly ReplicationOutput[] {
  const facts = check(effect, now);
  return facts === undefined ? [] : replication.handle({ type: "verified", resume: effect.resume, token: facts }, now);
}

test("the writes of one turn are signed together, stored, announced to watchers and broadcast", () => {
  const replication = replica();
  const write = { bucket: "app", replicas: 1 };
  expect(replication.handle({ type: "put", request: 1, key: "a", value: utf8("one"), ...write }, START)).toEqual([]);
  expect(replication.handle({ type: "delete", request: 2, key: "b", ...write }, START)).toEqual([]);
  expect(replication.deadline()).toBe(START);
  expect(replication.get("app", "a")).toBeUndefined();

  const [sign, ...none] = replication.handle({ type: "timeout" }, START);
  expect(none).toEqual([]);
  if (sign?.type !== "sign") throw new Error("a signature is asked for");
  const { batch, entries } = makeBatch(0, [
    ["app", "a", "one"],
    ["app", "b", null],
  ]);
  expect(sign.body).toEqual(batchBody(batch));

  const outputs = replication.handle({ type: "signed", signature: batch.signature, resume: sign.resume }, START);
  const cursor = replication.cursor - 2;
  const [a, b] = entries as [Entry, Entry];
  const readA = { key: "a", value: utf8("one"), version: versionOf(a), author: self, clock: a.clock, writtenAt: START };
  const readB = { key: "b", value: null, version: versionOf(b), author: self, clock: b.clock, writtenAt: START };
  expect(outputs).toEqual([
    { type: "changed", cursor: cursor + 1, bucket: "app", key: "a", entry: readA },
    { type: "changed", cursor: cursor + 2, bucket: "app", key: "b", entry: readB },
    { type: "broadcast", payload: encodeBatchMessage(batch, entries) },
    { type: "acknowledged", request: 1, replicas: 1, version: versionOf(a) },
    { type: "acknowledged", request: 2, replicas: 1, version: versionOf(b) },
  ]);
  expect(replication.get("app", "a")).toEqual(readA);
  expect(replication.get("app", "b")).toBeUndefined();
});

test("a write is acknowledged when as many members as asked, this one included, have said that they have it", () => {
  const replication = replica({ members: 5 });
  for (const peer of [writer, other]) replication.handle({ type: "link-up", peer }, START);
  replication.handle({ type: "put", request: 7, bucket: "app", key: "a", value: utf8("x"), replicas: 3 }, START);
  const outputs = flush(replication, START);
  const [broadcast] = ofType(outputs, "broadcast");
  const message = decodeMessage(broadcast?.payload ?? new Uint8Array());
  if (typeof message === "string" || message.type !== "batch") throw new Error("a batch is broadcast");
  const bytes = encodeAck(message.parcel.batch.first);
  expect(replication.handle({ type: "message", peer: writer, bytes }, START)).toEqual([]);
  expect(replication.handle({ type: "message", peer: writer, bytes }, START)).toEqual([]);
  expect(replication.handle({ type: "routed", peer: self, bytes }, START)).toEqual([]);
  expect(replication.handle({ type: "routed", peer: peerNumber(4), bytes }, START)).toMatchObject([
    { type: "acknowledged", request: 7, replicas: 3 },
  ]);
});

test("by default two members must have it, and a lone member is enough for itself", () => {
  const alone = replica({ members: 1 });
  alone.handle({ type: "put", request: 1, bucket: "app", key: "a", value: utf8("x") }, START);
  expect(ofType(flush(alone, START), "acknowledged")).toMatchObject([{ request: 1, replicas: 1 }]);
  const one = replica({ members: 3 });
  one.handle({ type: "put", request: 1, bucket: "app", key: "a", value: utf8("x") }, START);
  expect(ofType(flush(one, START), "acknowledged")).toEqual([]);
});

test("a write without enough replicas is pushed over the links after two seconds, and reported when its time is up", () => {
  const replication = replica({ members: 3 });
  replication.handle({ type: "link-up", peer: writer }, START);
  replication.handle({ type: "put", request: 1, bucket: "app", key: "a", value: utf8("x"), timeoutMs: 5_000 }, START);
  const [broadcast] = ofType(flush(replication, START), "broadcast");
  const pushed = ofType(flush(replication, START + 2_050), "send").filter(({ bytes }) => bytes[1] === 0);
  expect(pushed).toEqual([{ type: "send", peer: writer, lane: 3, bytes: broadcast?.payload }]);
  expect(ofType(flush(replication, START + 4_900), "unacknowledged")).toEqual([]);
  expect(ofType(flush(replication, START + 5_050), "unacknowledged")).toMatchObject([
    { request: 1, reason: "timeout", replicas: 1 },
  ]);
  expect(replication.get("app", "a")?.value).toEqual(utf8("x"));
});

test.each([
  ["bad-bucket", { bucket: "App" }],
  ["bad-key", { key: "" }],
  ["bad-key", { key: "k".repeat(513) }],
  ["bad-key", { key: "\ud800" }],
  ["too-large", { value: new Uint8Array(8_388_609) }],
  ["bad-replicas", { replicas: 0 }],
  ["bad-replicas", { replicas: 65 }],
  ["bad-replicas", { replicas: 1.5 }],
  ["forbidden", { bucket: "other" }],
] as const)("a write is refused with %s: %j", (reason, change) => {
  const replication = replica({ scopes: "kv:write:app,kv:read:other" });
  const write = { type: "put", request: 9, bucket: "app", key: "a", value: utf8("x"), ...change } as const;
  expect(replication.handle(write, START)).toEqual([{ type: "refused", request: 9, reason }]);
  // Nothing waits but the look at whether it is in service.
  expect(replication.deadline()).toBe(START + 600_000);
});

test("without a valid token every write is forbidden", () => {
  const replication = new Replication({ self, random: new SeededRandom(1), tokenOf: () => undefined });
  const write = { type: "delete", request: 1, bucket: "app", key: "a" } as const;
  expect(replication.handle(write, START)).toEqual([{ type: "refused", request: 1, reason: "forbidden" }]);
  const expired = replica();
  expect(expired.handle(write, START + 86_400_000)).toEqual([{ type: "refused", request: 1, reason: "forbidden" }]);
});

test("quotas count what waits to be signed", () => {
  const replication = replica({ quotas: { ...DEFAULT_QUOTAS, entriesPerBucket: 2 } });
  const put = (request: number) =>
    replication.handle(
      { type: "put", request, bucket: "app", key: `${request}`, value: utf8("x"), replicas: 1 },
      START,
    );
  expect([put(1), put(2)]).toEqual([[], []]);
  expect(put(3)).toEqual([{ type: "refused", request: 3, reason: "quota" }]);
  flush(replication, START);
  expect(put(4)).toEqual([{ type: "refused", request: 4, reason: "quota" }]);
});

test("a delivered batch is verified with its author's token at the batch's clock, then stored, and its author told", () => {
  const replication = replica();
  replication.handle({ type: "link-up", peer: writer }, START);
  const { batch, entries } = makeBatch(1, [["app", "a", "one"]], START - 5_000);
  const payload = encodeBatchMessage(batch, entries);
  const id = "a broadcast" as MessageId;
  const [verify, ...none] = replication.handle({ type: "delivered", id, from: other, payload }, START);
  expect(none).toEqual([]);
  expect(verify).toMatchObject({
    type: "verify",
    from: other,
    statements: [statementOf(batch)],
    token: tokenFor(writer),
    at: START - 5_000,
  });
  if (verify?.type !== "verify") throw new Error("a verification is asked for");
  expect(verified(replication, verify, START)).toMatchObject([
    { type: "verdict", id, verdict: "accept" },
    { type: "changed", bucket: "app", key: "a", entry: { author: writer, version: versionOf(entries[0] as Entry) } },
    { type: "send", peer: writer, lane: 3, bytes: encodeAck(batch.first) },
  ]);
  expect(deliverBytes(replication, payload, START)).toEqual([
    { type: "verdict", id: expect.anything(), verdict: "accept" },
  ]);
});

test("a member without a link to the author acknowledges by a routed envelope, if the author asked for so many", () => {
  const { batch, entries } = makeBatch(1, [["app", "a", "one"]]);
  const header = { ...batch, acks: 65_535 };
  const asking = { ...header, signature: fakeSignature(writer, batchBody(header)) };
  const payload = encodeBatchMessage(
    asking,
    entries.map((entry) => ({ ...entry, batch: asking })),
  );
  expect(ofType(deliverBytes(replica(), payload, START), "route")).toEqual([
    { type: "route", to: writer, bytes: encodeAck(batch.first) },
  ]);
  expect(ofType(deliverBytes(replica(), encodeBatchMessage(batch, entries), START), "route")).toEqual([]);
});

test("what is older than the stored version is neither verified nor stored nor forwarded", () => {
  const replication = replica();
  deliver(replication, 1, [["app", "a", "new"]], START + 10);
  const before = JSON.stringify(replication.buckets());
  expect(deliver(replication, 2, [["app", "a", "old"]], START, START + 20)).toEqual([
    { type: "verdict", id: expect.anything(), verdict: "ignore" },
  ]);
  expect(JSON.stringify(replication.buckets())).toBe(before);
});

test("a write over 60 s ahead is deferred, not remembered, and moves no clock", () => {
  const replication = replica();
  const outputs = deliver(replication, 1, [["app", "a", "early"]], START + 60_001, START);
  expect(outputs).toEqual(
    [
      { type: "deferred", peer: other, author: writer, aheadMs: 60_001 },
      { type: "verdict", id: expect.anything(), verdict: "ignore" },
    ].reverse(),
  );
  replication.handle({ type: "put", request: 1, bucket: "app", key: "b", value: utf8("x"), replicas: 1 }, START);
  flush(replication, START);
  expect(replication.get("app", "b")?.clock).toBe(clockAt(START));
  expect(deliver(replication, 1, [["app", "a", "early"]], START + 60_001, START + 1)).toMatchObject([
    { type: "verify" },
    { type: "verdict", verdict: "accept" },
    { type: "changed", key: "a" },
  ]);
});

test("a write so far ahead that no honest member can have accepted it is rejected", () => {
  expect(deliver(replica(), 1, [["app", "a", "x"]], START + 120_001, START)).toEqual([
    { type: "verdict", id: expect.anything(), verdict: "reject" },
    { type: "fault", fault: "clock-ahead" },
  ]);
});

test("a forged signature reaches neither the store nor the clock", () => {
  const replication = replica();
  const { batch, entries } = makeBatch(1, [["app", "a", "x"]], START + 30_000);
  const forged = { ...batch, signature: new Uint8Array(64) };
  const payload = encodeBatchMessage(
    forged,
    entries.map((entry) => ({ ...entry, batch: forged })),
  );
  expect(deliverBytes(replication, payload, START)).toMatchObject([{ type: "verify" }]);
  expect(replication.get("app", "a")).toBeUndefined();
  replication.handle({ type: "put", request: 1, bucket: "app", key: "b", value: utf8("x"), replicas: 1 }, START);
  flush(replication, START);
  expect(replication.get("app", "b")?.clock).toBe(clockAt(START));
});

test("an author whose token does not allow the bucket is at fault, and nothing of its batch is stored", () => {
  const replication = replica();
  const token = tokenFor(writer, "kv:write:other");
  const { batch, entries } = makeBatch(
    1,
    [
      ["other", "a", "x"],
      ["app", "a", "x"],
    ],
    START,
    token,
  );
  const facts = factsOf(token, START);
  if (facts === undefined) throw new Error("the token is valid");
  const parcel = decodeMessage(encodeBatchMessage(batch, entries)) as { readonly parcel: Parcel };
  const resume: Arrival = { parcel: parcel.parcel, isWhole: true, token, from: other, delivery: undefined };
  expect(replication.handle({ type: "verified", resume, token: facts }, START)).toEqual([
    { type: "fault", peer: writer, fault: "forbidden" },
  ]);
  expect(replication.buckets()).toEqual([]);
});

test("an entry is valid if its clock lies within its token's life, whenever that is looked at", () => {
  const expired = tokenFor(writer, "kv:write:*", START - 10_000, START - 5_000);
  for (const [at, isValid] of [
    [START - 11_000, false],
    [START - 6_000, true],
    [START - 4_000, false],
  ] as const) {
    const replication = new Replication({ self, random: new SeededRandom(1), tokenOf: () => expired });
    const { batch, entries } = makeBatch(1, [["app", "a", "x"]], at, expired);
    deliverBytes(replication, encodeBatchMessage(batch, entries), START);
    expect(replication.get("app", "a") !== undefined).toBe(isValid);
  }
});

test("a broadcast that is no batch is rejected and blames no one else", () => {
  for (const payload of [utf8("noise"), encodeAck(1), new Uint8Array(0)]) {
    expect(deliverBytes(replica(), payload, START)).toEqual([
      { type: "verdict", id: expect.anything(), verdict: "reject" },
      { type: "fault", fault: "malformed" },
    ]);
  }
});

test("a remote write that does not fit is refused without blame", () => {
  const replication = replica({ quotas: { ...DEFAULT_QUOTAS, entriesPerBucket: 0 } });
  expect(ofType(deliver(replication, 1, [["app", "a", "x"]]), "fault")).toEqual([{ type: "fault", fault: "quota" }]);
  expect(replication.buckets()).toEqual([]);
});

test("a watcher that comes late gets each changed key once, with its present version, in order", () => {
  const replication = replica();
  deliver(replication, 1, [["app", "a", "1"]], START);
  const { cursor } = replication;
  deliver(replication, 1, [["app", "b", "2"]], START + 1);
  deliver(replication, 1, [["app", "a", "3"]], START + 2);
  deliver(replication, 1, [["zoo", "a", "4"]], START + 3);
  deliver(replication, 1, [["app", "b", null]], START + 4);
  const { changes, lost, cursor: next } = replication.changesSince(cursor, "app");
  expect(lost).toBe(false);
  expect(changes.map(({ cursor: at, key, entry }) => [at - cursor, key, entry.value])).toEqual([
    [2, "a", utf8("3")],
    [4, "b", null],
  ]);
  expect(next).toBe(replication.cursor);
  expect(replication.changesSince(next, "app")).toEqual({ changes: [], lost: false, cursor: next });
  expect(replication.changesSince(cursor, "app", "b").changes.map(({ key }) => key)).toEqual(["b"]);
  expect(replication.changesSince(next + 1, "app").lost).toBe(true);
  expect(replication.changesSince(0, "app").lost).toBe(true);
});

test("a caller may reuse the buffer that it has put", () => {
  const replication = replica();
  const value = utf8("mine");
  replication.handle({ type: "put", request: 1, bucket: "app", key: "a", value, replicas: 1 }, START);
  value.fill(0);
  flush(replication, START);
  expect(replication.get("app", "a")?.value).toEqual(utf8("mine"));
});

test("a value of 8 MiB is hashed and signed in steps", () => {
  const replication = replica();
  const value = new Uint8Array(8_388_608).fill(1);
  replication.handle({ type: "put", request: 1, bucket: "app", key: "big", value, replicas: 1 }, START);
  replication.handle({ type: "put", request: 2, bucket: "app", key: "small", value: utf8("x"), replicas: 1 }, START);
  const steps: number[] = [];
  for (let step = 1; (replication.deadline() ?? Number.POSITIVE_INFINITY) <= START; step++) {
    for (const output of replication.handle({ type: "timeout" }, START)) if (output.type === "sign") steps.push(step);
  }
  expect(steps).toEqual([1, 8]);
});
