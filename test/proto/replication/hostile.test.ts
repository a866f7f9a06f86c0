import { expect, test } from "vitest";
import { concat, utf8 } from "../../../src/proto/bytes.ts";
import type { MessageId } from "../../../src/proto/gossip/messages.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { type Answer, encodeMessage, parseMessage, type Request } from "../../../src/proto/reconcile/messages.ts";
import { encodeParcel } from "../../../src/proto/replication/batch.ts";
import type { ReplicationInput, ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { MAX_VALUE_BYTES } from "../../../src/proto/replication/limits.ts";
import {
  encodeBatchMessage,
  encodeBuckets,
  encodeEntries,
  encodeFetch,
  encodeFragment,
  encodeReconcile,
  encodeRoot,
  encodeStanding,
  encodeTokens,
  encodeTokensWanted,
  encodeVerdict,
  encodeWant,
  type ReplicationMessage,
} from "../../../src/proto/replication/messages.ts";
import { decodeMessage } from "../../../src/proto/replication/parse-message.ts";
import { Replication } from "../../../src/proto/replication/replication.ts";
import { idOf, listOf, type VersionId } from "../../../src/proto/replication/version-id.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { makeBatch } from "./make.ts";
import { check, peerNumber, START, tokenFor } from "./world.ts";

const self = peerNumber(0);
const peer = peerNumber(1);
const another = peerNumber(2);

/** A replica with one link, and what it says on it. */
class Victim {
  readonly replication = new Replication({
    self,
    random: new SeededRandom(1),
    tokenOf: (member) => (member === peerNumber(9) ? undefined : tokenFor(member)),
  });
  now: Instant = START;

  constructor() {
    this.input({ type: "link-up", peer });
  }

  /** Applies an input and answers its verifications. */
  input(input: ReplicationInput): ReplicationOutput[] {
    const outputs = [...this.replication.handle(input, this.now)];
    for (const output of outputs) {
      if (output.type !== "verify") continue;
      const facts = check(output, this.now);
      if (facts !== undefined) outputs.push(...this.input({ type: "verified", resume: output.resume, token: facts }));
    }
    return outputs;
  }

  hear(bytes: Uint8Array, from = peer): ReplicationOutput[] {
    return this.input({ type: "message", peer: from, bytes });
  }

  /** Lets time pass, timeout by timeout. */
  wait(ms: number): ReplicationOutput[] {
    const until = this.now + ms;
    const outputs: ReplicationOutput[] = [];
    for (let at = this.replication.deadline(); at !== undefined && at <= until; at = this.replication.deadline()) {
      this.now = Math.max(this.now, at);
      outputs.push(...this.input({ type: "timeout" }));
    }
    this.now = until;
    return outputs;
  }

  /** Waits for the periodic exchange and returns its first message. */
  root(): Extract<ReplicationMessage, { readonly type: "root" }> {
    for (;;) {
      const [root] = said(this.wait(500), "root");
      if (root !== undefined) return root;
    }
  }

  /** Stores entries as if they had been broadcast. */
  fill(count: number): readonly Entry[] {
    const stored: Entry[] = [];
    for (let start = 0; start < count; start += 64) {
      const contents = Array.from({ length: Math.min(64, count - start) }, (_, index) => {
        return ["app", `key ${start + index}`, `value ${index}`.padEnd(60)] as const;
      });
      const { batch, entries } = makeBatch(2, contents, START - 10_000 + start);
      this.hear(encodeBatchMessage(batch, entries));
      stored.push(...entries);
    }
    return stored;
  }
}

function said<T extends ReplicationMessage["type"]>(
  outputs: readonly ReplicationOutput[],
  type: T,
): Extract<ReplicationMessage, { readonly type: T }>[] {
  return outputs.flatMap((output) => {
    const message = output.type === "send" ? decodeMessage(output.bytes) : undefined;
    const isIt = typeof message === "object" && message.type === type;
    return isIt ? [message as Extract<ReplicationMessage, { readonly type: T }>] : [];
  });
}

const faults = (outputs: readonly ReplicationOutput[]): string[] =>
  outputs.flatMap((output) =>
    output.type === "fault" ? [`${output.peer === peer ? "peer" : "?"} ${output.fault}`] : [],
  );

const salt = new Uint8Array(8);
const strangeId = "\x01\x02\x03\x04\x05\x06\x07\x08";
const someRoot = new Uint8Array(16);

/** A message about bucket `app`. */
const about = (message: Request | Answer): Uint8Array => encodeReconcile("app", encodeMessage(message));

/** What is said about buckets. */
function compared(outputs: readonly ReplicationOutput[]): (Request | Answer)[] {
  return said(outputs, "reconcile").flatMap(({ bytes }) => parseMessage(bytes) ?? []);
}

/** Opens an exchange with the victim and a comparison of `app`, as far as its first answer. */
function open(victim: Victim, from = peer): ReplicationOutput[] {
  victim.hear(encodeRoot(1, salt, someRoot), from);
  const opening = victim.hear(about({ type: "open", seq: 1, salt, root: someRoot, size: 5 }), from);
  return [...opening, ...victim.wait(0)];
}

/** Tells the victim that it lacks these. */
function offer(victim: Victim, ids: readonly VersionId[], from = peer): ReplicationOutput[] {
  open(victim, from);
  return victim.hear(about({ type: "offer", seq: 1, ids: listOf(ids) }), from);
}

/** Brings an exchange of the victim's to the point where it has asked for one entry. */
function wanting(victim: Victim, entry: Entry): { readonly seq: number; readonly outputs: ReplicationOutput[] } {
  const outputs = offer(victim, [idOf(entry)]);
  const [want] = said(outputs, "want");
  if (want === undefined) throw new Error("the entry is wanted");
  return { seq: want.seq, outputs };
}

test("equal replicas find out with one message each way, 64 bytes in all", () => {
  const victim = new Victim();
  const other = new Victim();
  victim.fill(100);
  other.fill(100);
  const [root] = victim.wait(60_000).filter((output) => output.type === "send");
  if (root?.type !== "send") throw new Error("the periodic exchange begins");
  const [verdict] = other.hear(root.bytes);
  if (verdict?.type !== "send") throw new Error("it is answered");
  expect(decodeMessage(verdict.bytes)).toMatchObject({ type: "verdict", busy: false });
  expect(root.bytes.length + verdict.bytes.length).toBeLessThanOrEqual(64);
});

test.each([
  ["noise", utf8("noise")],
  ["nothing", new Uint8Array(0)],
  ["an unknown kind", encode([99])],
  ["a negative kind", encode([-1, 1])],
  ["a kind that is no integer", encode([1.5, 1])],
  ["a missing field", encode([3, 1])],
  ["a field too many", encode([8, true, true])],
  ["a request number of zero", encodeVerdict(0, true)],
  ["a list of ids cut short", encode([6, 1, [["app", new Uint8Array(15)]]])],
  ["a bucket that cannot be", encode([6, 1, [["App", new Uint8Array(16)]]])],
  ["a bucket that cannot be compared", encode([5, "App", new Uint8Array(2)])],
  ["a comparison of nothing", encode([5, "app", new Uint8Array(2)])],
  ["a comparison that is no bytes", encode([5, "app", 1])],
  ["41 tokens", encodeTokens(1, new Array(41).fill("t"))],
  ["a fragment of nothing", encodeFragment(1, new Uint8Array(0))],
  ["a fragment too long", encodeFragment(1, new Uint8Array(131_073))],
])("%s is malformed and has no other effect", (_name, bytes) => {
  expect(new Victim().hear(bytes)).toEqual([{ type: "fault", peer, fault: "malformed" }]);
});

test("an answer that nobody asked for is a fault", () => {
  const victim = new Victim();
  for (const bytes of [
    encodeVerdict(77, false),
    encodeBuckets(77, []),
    about({ type: "more", seq: 77 }),
    encodeEntries(77, 0, []),
    encodeTokens(77, []),
    encodeFragment(77, utf8("x")),
  ]) {
    expect(victim.hear(bytes)).toEqual([{ type: "fault", peer, fault: "unsolicited" }]);
  }
});

test("an answer from another peer than the one that was asked is that peer's fault", () => {
  const victim = new Victim();
  victim.input({ type: "link-up", peer: another });
  const [entry] = makeBatch(2, [["app", "a", "x"]]).entries as [Entry];
  const { seq } = wanting(victim, entry);
  const bytes = encodeEntries(seq, 0, [encodeParcel(entry.batch, [entry])]);
  expect(victim.hear(bytes, another)).toEqual([{ type: "fault", peer: another, fault: "unsolicited" }]);
  expect(victim.hear(bytes)).toContainEqual(expect.objectContaining({ type: "changed", key: "a" }));
});

test("entries that were not asked for are refused with the whole answer", () => {
  const victim = new Victim();
  const { entries } = makeBatch(2, [
    ["app", "a", "x"],
    ["app", "b", "y"],
  ]);
  const { seq } = wanting(victim, entries[0] as Entry);
  const outputs = victim.hear(encodeEntries(seq, 0, [encodeParcel((entries[0] as Entry).batch, entries)]));
  expect(faults(outputs)).toEqual(["peer unsolicited"]);
  expect(victim.replication.buckets()).toEqual([]);
});

test("an entry is asked of one peer only, and of another after the first has not answered", () => {
  const victim = new Victim();
  victim.input({ type: "link-up", peer: another });
  const [entry] = makeBatch(2, [["app", "a", "x"]]).entries as [Entry];
  wanting(victim, entry);
  expect(said(offer(victim, [idOf(entry)], another), "want")).toEqual([]);
  victim.wait(10_001);
  expect(said(offer(victim, [idOf(entry)], another), "want")).toHaveLength(1);
});

test("a peer that lists what it never sends is shunned", () => {
  const victim = new Victim();
  const all: string[] = [];
  for (let number = 0; number < 12; number++) {
    const id = `${String.fromCharCode(number)}\x02\x03\x04\x05\x06\x07\x08`;
    const outputs = offer(victim, [id]);
    const [want] = said(outputs, "want");
    if (want !== undefined) outputs.push(...victim.hear(encodeEntries(want.seq, 0, [])));
    all.push(...faults(outputs));
  }
  expect(all).toEqual(["peer no-progress"]);
  expect(offer(victim, [strangeId])).toEqual([]);
  victim.input({ type: "link-down", peer });
  victim.input({ type: "link-up", peer });
  expect(said(offer(victim, [strangeId]), "want")).toHaveLength(1);
});

/** What a peer says that always differs and never tells how. */
function evasion(request: Request): Answer | undefined {
  const { seq } = request;
  switch (request.type) {
    case "open":
      return { type: "differ", seq, salt, size: 3_000, prints: new Uint8Array(192).fill(27) };
    case "cells":
      return { type: "more", seq };
    case "list":
      return { type: "listing", seq, next: request.from + 1, bits: 0, ids: listOf([]) };
    default:
      return undefined;
  }
}

test("a peer that says for ever that it differs, and never how, is shunned", () => {
  const victim = new Victim();
  victim.fill(3_000);
  const all: string[] = [];
  let messages = 0;
  // Which exchanges get as far as listing is a matter of their salts; four of them are enough.
  for (let round = 0; round < 200 && all.length === 0; round++) {
    for (let outputs = victim.wait(60_000); outputs.length > 0; ) {
      all.push(...faults(outputs));
      const answers: ReplicationOutput[] = [];
      for (const { seq } of said(outputs, "root"))
        answers.push(...victim.hear(encodeBuckets(seq, [["app", new Uint8Array(6)]])));
      for (const request of compared(outputs)) {
        messages++;
        const answer = evasion(request as Request);
        if (answer !== undefined) answers.push(...victim.hear(about(answer)));
      }
      answers.push(...victim.wait(1));
      outputs = answers;
    }
  }
  expect(all).toEqual(["peer no-progress"]);
  expect(messages).toBeLessThan(4_096);
});

test("a peer whose sketch never decodes is shunned after a bounded number of cells", () => {
  const victim = new Victim();
  victim.fill(3_000);
  victim.hear(encodeRoot(1, salt, someRoot));
  victim.hear(about({ type: "open", seq: 1, salt, root: someRoot, size: 3_000 }));
  const [differ] = compared(victim.wait(0));
  expect(differ).toMatchObject({ type: "differ" });
  const random = new SeededRandom(2);
  const all: string[] = [];
  let sent = 0;
  while (all.length === 0 && sent < 1_000) {
    const cells = new Uint8Array(28 * 64).map(() => random.u32());
    all.push(...faults(victim.hear(about({ type: "cells", seq: 1, level: 8, bits: 0, section: 0, cells }))));
    all.push(...faults(victim.wait(1)));
    sent++;
  }
  expect(all).toEqual(["peer no-progress"]);
  expect(sent).toBeLessThan(50);
  expect(victim.hear(encodeRoot(2, salt, someRoot))).toEqual([]);
});

test("a comparison outside an exchange is answered busy, and nothing is wanted of it", () => {
  const victim = new Victim();
  victim.fill(100);
  expect(compared(victim.hear(about({ type: "open", seq: 1, salt, root: someRoot, size: 5 })))).toEqual([
    { type: "busy", seq: 1 },
  ]);
  expect(victim.hear(about({ type: "offer", seq: 1, ids: listOf([strangeId]) }))).toEqual([]);
});

test("nothing is taken of a peer that was away and follows us", () => {
  const victim = new Victim();
  victim.fill(100);
  victim.hear(encodeStanding({ since: START, gapFrom: START + 1, isAway: true }));
  expect(said(offer(victim, [strangeId]), "want")).toEqual([]);
  victim.hear(encodeStanding({ since: START, gapFrom: undefined, isAway: false }));
  expect(said(offer(victim, [strangeId]), "want")).toHaveLength(1);
});

test("an older version of a key is not asked for, an entry of another key with the same place is in the end", () => {
  const victim = new Victim();
  const [old] = makeBatch(2, [["app", "a", "old"]], START - 60_000).entries as [Entry];
  const { batch, entries } = makeBatch(2, [["app", "a", "new"]]);
  victim.hear(encodeBatchMessage(batch, entries));
  expect(said(offer(victim, [idOf(old)]), "want")).toEqual([]);
  victim.wait(5_000);
  const root = victim.root();
  const outputs = victim.hear(encodeBuckets(root.seq, [["app", new Uint8Array(6)]]));
  const [asked] = compared(outputs);
  const seq = asked?.seq ?? 0;
  // The peer has both: the later one is none of that key.
  victim.hear(about({ type: "differ", seq, salt, size: 2, prints: new Uint8Array(192) }));
  const [list] = compared(victim.wait(0));
  expect(list).toMatchObject({ type: "list" });
  const ids = listOf([idOf(old), ...entries.map(idOf)]);
  const last = victim.hear(about({ type: "listing", seq, next: (list as { to: number }).to, bits: 0, ids }));
  expect(said(last, "want")).toMatchObject([{ groups: [{ bucket: "app", ids: [idOf(old)] }] }]);
});

test("a flood of messages is a fault, and is not heard from there on", () => {
  const victim = new Victim();
  const all: string[] = [];
  for (let count = 0; count < 20_000; count++)
    all.push(...faults(victim.hear(encodeRoot(1, salt, new Uint8Array(16)))));
  expect(all).toEqual(["peer flood"]);
});

test("requests beyond a peer's share are answered busy, and cost little", () => {
  const victim = new Victim();
  victim.fill(2_000);
  victim.hear(encodeRoot(1, salt, someRoot));
  let slices = 0;
  let busy = 0;
  for (let seq = 1; seq <= 2_000; seq++) {
    const outputs = victim.hear(about({ type: "open", seq, salt, root: someRoot, size: 5 }));
    outputs.push(...victim.wait(0.01));
    for (const { type } of compared(outputs)) {
      if (type === "busy") busy++;
      if (type === "differ") slices++;
    }
  }
  expect(busy + slices).toBe(2_000);
  expect(slices).toBeLessThan(20);
});

test("no answer is larger than a message may be, and what has no room is asked for again", () => {
  const victim = new Victim();
  const entries = victim.fill(20_000);
  const sizes: number[] = [];
  let left = entries.map((entry) => ({ id: idOf(entry), key: entry.key }));
  for (let seq = 1; left.length > 0 && seq < 20; seq++) {
    const asked = left.slice(0, 8_192);
    const outputs = victim.hear(encodeWant(seq, [{ bucket: "app", ids: asked.map(({ id }) => id) }]));
    for (const output of outputs) if (output.type === "send") sizes.push(output.bytes.length);
    const answers = said(outputs, "entries");
    const got = new Set(
      answers.flatMap(({ parcels }) => parcels.flatMap((parcel) => parcel.entries.map(({ head }) => head.key))),
    );
    expect(answers.at(-1)?.state).toBe(got.size === asked.length ? 0 : 1);
    left = left.filter(({ key }) => !got.has(key));
  }
  expect(left).toEqual([]);
  expect(Math.max(...sizes)).toBeLessThan(205_000);
});

test("batches of which most is asked for come first, so that a proof serves many entries", () => {
  const victim = new Victim();
  const entries = victim.fill(640);
  const asked = entries.filter((_, index) => index >= 576 || index % 64 < 3);
  const [answer] = said(victim.hear(encodeWant(1, [{ bucket: "app", ids: asked.map(idOf) }])), "entries");
  expect(answer?.parcels.map((parcel) => parcel.entries.length)).toEqual([64, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
});

test("a replica that compares with one peer is busy for others, and equal ones are told so all the same", () => {
  const victim = new Victim();
  victim.fill(100);
  const { seq } = victim.root();
  victim.input({ type: "link-up", peer: another });
  victim.hear(encodeBuckets(seq, []));
  expect(said(victim.hear(encodeRoot(1, salt, new Uint8Array(16)), another), "verdict")).toMatchObject([
    { busy: true },
  ]);
  const twin = new Victim();
  twin.fill(100);
  const same = twin.root();
  expect(said(victim.hear(encodeRoot(2, same.salt, same.root), another), "verdict")).toMatchObject([
    { seq: 2, busy: false },
  ]);
});

test("one peer's exchange reserves a replica, for twenty seconds at most", () => {
  const victim = new Victim();
  victim.input({ type: "link-up", peer: another });
  const root = encodeRoot(1, salt, new Uint8Array(16));
  expect(said(victim.hear(root), "buckets")).toHaveLength(1);
  let busyMs = 0;
  while (said(victim.hear(root, another), "buckets").length === 0 && busyMs < 60_000) {
    victim.hear(about({ type: "end", seq: 2 }));
    victim.wait(1_000);
    busyMs += 1_000;
  }
  expect(busyMs).toBe(20_000);
});

test("an answer with more parts than allowed is a fault", () => {
  const victim = new Victim();
  const { entries } = makeBatch(
    2,
    Array.from({ length: 8 }, (_, index) => ["app", `${index}`, "x"] as const),
  );
  const [want] = said(offer(victim, entries.map(idOf)), "want");
  const seq = want?.seq ?? 0;
  const all = entries.flatMap((entry) =>
    faults(victim.hear(encodeEntries(seq, 2, [encodeParcel(entry.batch, [entry])]))),
  );
  expect(all[0]).toBe("peer unsolicited");
});

test("a batch whose author's token is unknown waits for it, and only the token that was asked for is taken", () => {
  const victim = new Victim();
  const { batch, entries } = makeBatch(9, [["app", "a", "x"]]);
  const outputs = victim.hear(encodeBatchMessage(batch, entries));
  expect(said(outputs, "tokens-wanted")).toMatchObject([{ hashes: [batch.tokenHash] }]);
  const [asked] = said(outputs, "tokens-wanted");
  const seq = asked?.seq ?? 0;
  expect(victim.hear(encodeTokens(seq, ["another token", tokenFor(peerNumber(9))]))).toContainEqual(
    expect.objectContaining({ type: "changed", key: "a" }),
  );
  const known = said(victim.hear(encodeTokensWanted(1, [sha256(utf8("another token")), batch.tokenHash])), "tokens");
  expect(known).toEqual([{ type: "tokens", seq: 1, tokens: [tokenFor(peerNumber(9))] }]);
});

test("a token that was asked of a link that went away is asked for again", () => {
  const victim = new Victim();
  const { batch, entries } = makeBatch(9, [["app", "a", "x"]]);
  victim.hear(encodeBatchMessage(batch, entries));
  expect(said(victim.hear(encodeBatchMessage(batch, entries)), "tokens-wanted")).toEqual([]);
  victim.input({ type: "link-down", peer });
  victim.input({ type: "link-up", peer });
  expect(said(victim.hear(encodeBatchMessage(batch, entries)), "tokens-wanted")).toHaveLength(1);
});

test("batches that wait for tokens are bounded, and given up after a while", () => {
  const victim = new Victim();
  for (let number = 0; number < 100; number++) {
    const token = `unknown ${number}`;
    const { batch, entries } = makeBatch(9, [["app", `${number}`, "x"]], START, token);
    victim.hear(encodeBatchMessage(batch, entries));
  }
  victim.wait(11_000);
  expect(victim.replication.buckets()).toEqual([]);
});

test("a large value that is not what its author signed is its supplier's fault, and is pulled from another", () => {
  const victim = new Victim();
  victim.input({ type: "link-up", peer: another });
  const value = new Uint8Array(200_000).map((_, index) => index);
  const { batch, entries } = makeBatch(2, [["app", "big", value]]);
  const first = victim.hear(encodeBatchMessage(batch, entries));
  const [fetch, second, ...none] = said(first, "fetch");
  expect(none).toEqual([]);
  expect([fetch?.offset, second?.offset]).toEqual([0, 131_072]);
  victim.hear(encodeBatchMessage(batch, entries), another);
  victim.hear(encodeFragment(fetch?.seq ?? 0, value.subarray(0, 131_072)));
  const outputs = victim.hear(encodeFragment(second?.seq ?? 0, new Uint8Array(68_928)));
  expect(faults(outputs)).toEqual(["peer bad-value"]);
  const again = outputs.filter((output) => output.type === "send" && output.peer === another);
  const [one, two] = said(again, "fetch");
  victim.hear(encodeFragment(one?.seq ?? 0, value.subarray(0, 131_072)), another);
  expect(victim.hear(encodeFragment(two?.seq ?? 0, value.subarray(131_072)), another)).toContainEqual(
    expect.objectContaining({ type: "changed", key: "big" }),
  );
  expect(victim.replication.get("app", "big")?.value).toEqual(value);
});

test("a value announced as larger than any may be is refused unseen, however it comes, and another's largest is pulled", () => {
  const victim = new Victim();
  victim.input({ type: "link-up", peer: another });
  const { batch, entries } = makeBatch(1, [["app", "big", new Uint8Array(MAX_VALUE_BYTES + 1)]]);
  const announced = encodeBatchMessage(batch, entries);
  expect(victim.hear(announced)).toEqual([{ type: "fault", peer, fault: "malformed" }]);
  const id = "b1" as MessageId;
  expect(victim.input({ type: "delivered", id, from: peer, payload: announced })).toEqual([
    { type: "verdict", id, verdict: "reject" },
    { type: "fault", peer: undefined, fault: "malformed" },
  ]);
  const [want] = said(offer(victim, [idOf(entries[0] as Entry)]), "want");
  const answer = encodeEntries(want?.seq ?? 0, 0, [encodeParcel(batch, entries)]);
  expect(faults(victim.hear(answer))).toEqual(["peer malformed"]);
  expect(victim.replication.buckets()).toEqual([]);
  const largest = makeBatch(2, [["app", "largest", new Uint8Array(MAX_VALUE_BYTES)]]);
  const pulled = victim.hear(encodeBatchMessage(largest.batch, largest.entries), another);
  expect(said(pulled, "fetch")[0]).toMatchObject({ key: "largest", offset: 0 });
});

test("a fragment of the wrong length is refused at once", () => {
  const victim = new Victim();
  const { batch, entries } = makeBatch(2, [["app", "big", new Uint8Array(200_000)]]);
  const [fetch] = said(victim.hear(encodeBatchMessage(batch, entries)), "fetch");
  expect(faults(victim.hear(encodeFragment(fetch?.seq ?? 0, new Uint8Array(10))))).toEqual(["peer bad-value"]);
});

test("who asks for a value that is still being pulled is told when it is complete", () => {
  const victim = new Victim();
  victim.input({ type: "link-up", peer: another });
  const value = new Uint8Array(60_000);
  const { batch, entries } = makeBatch(2, [["app", "big", value]]);
  const [fetch] = said(victim.hear(encodeBatchMessage(batch, entries)), "fetch");
  const id = idOf(entries[0] as Entry);
  const ask = encodeFetch(5, { bucket: "app", key: "big", id, offset: 0 });
  expect(said(victim.hear(ask, another), "lacking")).toEqual([{ type: "lacking", seq: 5 }]);
  const outputs = victim.hear(encodeFragment(fetch?.seq ?? 0, value));
  const told = outputs.filter((output) => output.type === "send" && output.peer === another);
  expect(said(told, "have")).toEqual([{ type: "have", id }]);
  expect(said(victim.hear(ask, another), "fragment")).toEqual([{ type: "fragment", seq: 5, bytes: value }]);
});

test("nothing keeps a reference to a message that has been heard", () => {
  const victim = new Victim();
  const { batch, entries } = makeBatch(2, [["app", "a", "value"]]);
  const bytes = encodeBatchMessage(batch, entries);
  victim.hear(bytes);
  const before = JSON.stringify([victim.replication.buckets(), victim.replication.get("app", "a")]);
  bytes.fill(0);
  expect(JSON.stringify([victim.replication.buckets(), victim.replication.get("app", "a")])).toBe(before);
  const stored = victim.replication.get("app", "a")?.value;
  expect(stored?.buffer.byteLength).toBe(5);
  expect(concat(stored ?? new Uint8Array(0))).toEqual(utf8("value"));
});
