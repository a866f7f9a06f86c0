import { afterEach, beforeEach, expect, test } from "vitest";
import { chooseStack } from "../../../src/drivers/rtc.auto.ts";
import { decodePayload, encodePayload } from "../../../src/proto/membership/messages.ts";
import { encodeRecord, type MemberRecord, RecordShelf } from "../../../src/proto/membership/record.ts";
import type { NodeIdentity } from "../../../src/proto/trust/crypto.ts";
import type { RtcStack } from "../../../src/rtc.ts";
import { crypto, faults, hasLink, Lab, type Pair, until } from "./lab.ts";
import { type RawChannel, RawPeer } from "./raw-peer.ts";
import { RogueServer } from "./rogue-server.ts";

/**
 * Goal: a signaling server can delay, drop and see who talks to whom; it cannot read, alter or invent what members say to each
 * other, nor stand between them. Method: agents of one cluster whose only server is in bad hands.
 */

let lab: Lab;
let rogue: RogueServer;

beforeEach(async () => {
  lab = await Lab.open();
  rogue = await RogueServer.open(lab.cluster);
  lab.onClose(() => rogue.close());
});

afterEach(() => lab[Symbol.asyncDispose]());

/** Text that stands in every description and candidate. */
const TELLTALE = ["v=0", "ice-ufrag", "ice-pwd", "fingerprint", "sha-256", "candidate", "typ host", "127.0.0.1", "UDP"];

function mentions(bytes: Uint8Array): string[] {
  const text = Buffer.from(bytes).toString("latin1").toLowerCase();
  return TELLTALE.filter((word) => word.length > 3 && text.includes(word.toLowerCase()));
}

function recordOf(bytes: Uint8Array | undefined): MemberRecord {
  const payload = bytes && decodePayload(bytes, new RecordShelf(1));
  if (payload?.type !== "record") throw new Error("agents present their record");
  return payload.record;
}

/** `record` with another X25519 key, signed by `signer` or, without one, by what was there. */
function withKey(record: MemberRecord, exchangeKey: Uint8Array, signer?: NodeIdentity): Uint8Array {
  const incarnation = record.incarnation + 1;
  const body = encodeRecord(record.id, { ...record, incarnation, exchangeKey });
  const signature = signer?.sign("starling/record/1", body) ?? record.signature;
  return encodePayload("record", { body, signature });
}

test("letters through a server show nothing of descriptions, candidates or addresses", async () => {
  const pair = await lab.pair(rogue.cluster);
  expect(rogue.letters.length).toBeGreaterThan(3);
  for (const { bytes } of rogue.letters) expect(mentions(bytes)).toEqual([]);
  for (const record of rogue.records.values()) expect(mentions(record)).toEqual([]);
  await pair.unharmed();
});

test.each([
  ["the sender's key", 5],
  ["the nonce", 40],
  ["the sealed words", 200],
])("a letter altered in %s is dropped and counted, and those that come through whole make the link", async (_, at) => {
  let altered = 0;
  rogue.relay = ({ bytes }) => {
    if (altered === 1) return bytes;
    altered++;
    const changed = bytes.slice();
    changed[at % bytes.length] = (changed[at % bytes.length] ?? 0) ^ 1;
    return changed;
  };
  const pair = await lab.pair(rogue.cluster);
  expect(faults(pair.left, "letter-not-for-us") + faults(pair.right, "letter-not-for-us")).toBe(1);
  await pair.unharmed();
});

test("letters handed to somebody else than their recipient are dropped and counted", async () => {
  const pair = await lab.pair(rogue.cluster);
  const misled = rogue.letters.find(({ to }) => to === pair.right.id);
  if (!misled) throw new Error("the pair has exchanged letters");
  rogue.inject(misled.from, pair.left.id, misled.bytes);
  await until("the count", () => faults(pair.left, "letter-not-for-us") === 1);
  await pair.unharmed();
});

test("letters handed over a second time are dropped and counted", async () => {
  const pair = await lab.pair(rogue.cluster);
  const heard = rogue.letters.filter(({ to }) => to === pair.right.id);
  for (const { from, to, bytes } of heard) rogue.inject(from, to, bytes);
  await until("the count", () => faults(pair.right, "letter-replayed") === heard.length);
  await pair.unharmed();
});

test("a letter that the server writes in a member's name is dropped and counted", async () => {
  const pair = await lab.pair(rogue.cluster);
  const { identity } = await lab.node();
  const forger = await RawPeer.alone(identity, lab.cluster.clusterId);
  lab.onClose(() => forger.close());
  forger.boxKeys.set(pair.right.id, recordOf(rogue.records.get(pair.right.id)).exchangeKey);
  const dial = { id: crypto.randomBytes(16), sequence: 0 };
  const letter = forger.sealed(pair.right.id, dial, { kind: "ask" }, { sender: pair.left.id });
  rogue.inject(pair.left.id, pair.right.id, letter);
  await until("the count", () => faults(pair.right, "letter-bad-signature") === 1);
  await pair.unharmed();
});

test("a record whose key the server has replaced by its own is refused, and no letter is sealed for that key", async () => {
  const pair = await lab.pair(rogue.cluster);
  const own = crypto.boxKeyPair();
  const record = recordOf(rogue.records.get(pair.right.id));
  rogue.push(pair.left.id, [withKey(record, own.publicKey)]);
  await until("the count", () => faults(pair.left, "forged") === 1);
  rogue.introduce = (_reader, _subject, bytes) => withKey(recordOf(bytes), own.publicKey);
  const newcomer = await lab.agent(await lab.node(), { cluster: rogue.cluster });
  await until("the count", () => faults(newcomer, "forged") >= 2);
  expect(rogue.letters.filter(({ from }) => from === newcomer.id)).toEqual([]);
  const opened = rogue.letters.filter(({ bytes }) => crypto.open(bytes.slice(32), bytes.slice(0, 32), own.secretKey));
  expect(opened).toEqual([]);
  await pair.unharmed();
});

test("a member that the server invents, with a token of its own making, is refused and counted", async () => {
  const pair = await lab.pair(rogue.cluster);
  const { identity } = await lab.node();
  const record = recordOf(rogue.records.get(pair.right.id));
  const body = encodeRecord(identity.id, { ...record });
  const invented = encodePayload("record", { body, signature: identity.sign("starling/record/1", body) });
  rogue.push(pair.left.id, [invented]);
  await until("the count", () => faults(pair.left, "forged") === 1);
  expect(pair.left.members().some(({ id }) => id === identity.id)).toBe(false);
  await pair.unharmed();
});

test("a server that welcomes strangers cannot make them members", async () => {
  const pair = await lab.pair(rogue.cluster);
  const { identity } = await lab.node();
  const { clusterId } = lab.cluster;
  const stranger = await RawPeer.login(identity, clusterId, rogue.cluster.signaling[0] ?? "", "no token at all");
  lab.onClose(() => stranger.close());
  stranger.boxKeys.set(pair.left.id, recordOf(rogue.records.get(pair.left.id)).exchangeKey);
  const channel = await stranger.dial(pair.left.id);
  const { outcome } = await stranger.handshake(channel, { clusterId, token: "no token at all" });
  expect(outcome).toBe("unspecified");
  await until("the count", () => faults(pair.left, "admission-bad-mac") === 1);
  await channel.closed;
  expect(hasLink(pair.left, identity.id)).toBe(false);
  await pair.unharmed();
});

test("a server that has stolen two members' node keys, and the path between them, cannot stand in the middle", async () => {
  const honest = await lab.pair();
  const nodes = [await lab.node(), await lab.node()];
  const [low, high] = nodes.sort((a, b) => (a.identity.id < b.identity.id ? -1 : 1));
  if (!low || !high) throw new Error("there are two");
  const { clusterId } = lab.cluster;
  // In the middle: one that speaks to each victim as the other, with the other's node key and an X25519 key of its own.
  const asHigh = await RawPeer.alone(high.identity, clusterId);
  const asLow = await RawPeer.alone(low.identity, clusterId);
  lab.onClose(async () => {
    await asHigh.close();
    await asLow.close();
  });
  rogue.relay = ({ to, bytes }) => {
    (to === high.identity.id ? asHigh : asLow).letter(bytes);
    return undefined;
  };
  asHigh.post = (to, letter) => rogue.inject(high.identity.id, to, letter);
  asLow.post = (to, letter) => rogue.inject(low.identity.id, to, letter);
  rogue.introduce = (reader, _subject, bytes) =>
    reader === low.identity.id ? withKey(recordOf(bytes), asHigh.box.publicKey, high.identity) : undefined;
  let joined = 0;
  asHigh.dialed = async (fromLow) => {
    const toHigh = await asLow.dial(high.identity.id);
    pipe(fromLow, toHigh);
    pipe(toHigh, fromLow);
    joined++;
  };
  const highAgent = await lab.agent(high, { cluster: rogue.cluster });
  await until("its record", () => rogue.records.has(highAgent.id));
  asLow.boxKeys.set(highAgent.id, recordOf(rogue.records.get(highAgent.id)).exchangeKey);
  const lowAgent = await lab.agent(low, { cluster: rogue.cluster });
  await until("both to refuse", () => [lowAgent, highAgent].every((agent) => refusals(agent) > 0));
  expect(joined).toBeGreaterThan(0);
  expect(faults(lowAgent, "admission-bad-mac") + faults(highAgent, "admission-bad-mac")).toBeGreaterThan(0);
  expect(hasLink(lowAgent, highAgent.id)).toBe(false);
  expect(hasLink(highAgent, lowAgent.id)).toBe(false);
  await honest.unharmed();
});

test("a stack that is given another certificate's fingerprint finds its peer and opens no channel", async () => {
  const pair = await lab.pair(rogue.cluster);
  const stack = await chooseStack("auto");
  const events: Record<string, number> = {};
  const swap = (sdp: string): string =>
    sdp.replace(/(fingerprint:sha-256 )(..)/i, (_, head, byte) => `${head}${byte === "00" ? "01" : "00"}`);
  const misled: RtcStack = {
    name: stack.name,
    maxFrameBytes: stack.maxFrameBytes,
    connect(options, notify) {
      const connection = stack.connect(options, (event) => {
        events[event.type] = (events[event.type] ?? 0) + 1;
        notify(event);
      });
      const answer = connection.answer.bind(connection);
      const accept = connection.accept.bind(connection);
      return Object.assign(connection, {
        answer: (sdp: string) => answer(swap(sdp)),
        accept: (sdp: string) => accept(swap(sdp)),
      });
    },
    close: () => stack.close(),
  };
  const victim = await lab.agent(await lab.node(), { cluster: rogue.cluster, options: { rtc: misled } });
  await until("both ends of two attempts", () => (events["closed"] ?? 0) >= 2);
  expect(events["ice-connected"]).toBeGreaterThan(0);
  expect(events["open"]).toBe(undefined);
  expect(victim.status().links).toEqual([]);
  await pair.unharmed();
});

function refusals(agent: Pair["left"]): number {
  return faults(agent, "admission-bad-mac") + faults(agent, "admission-unspecified");
}

function pipe(from: RawChannel, to: RawChannel): void {
  from.pipe = (frame) => to.send(frame);
  for (const frame of from.heard.splice(0)) to.send(frame);
}
