import { afterEach, beforeEach, expect, test } from "vitest";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { FIRST_LINK_FRAME, FrameKind } from "../../../src/proto/wire/frame-kind.ts";
import { crypto, faults, hasLink, Lab, type Pair, until } from "./lab.ts";
import { type Claims, type RawChannel, RawPeer } from "./raw-peer.ts";

/**
 * Goal: nobody passes the gate of a link without its own key, a token of its own, and the cluster key, all at once and live.
 * Method: beside two honest agents with a link, a raw peer with a valid token logs in at an honest server, dials one of the
 * two up to an open data channel, and lies there.
 */

let lab: Lab;
let pair: Pair;
let attacker: RawPeer;
let token: string;

beforeEach(async () => {
  lab = await Lab.open();
  pair = await lab.pair();
  const { identity } = await lab.node();
  token = await lab.token(identity.id);
  attacker = await RawPeer.login(identity, lab.cluster.clusterId, lab.url, token);
});

afterEach(async () => {
  await attacker.close();
  await lab[Symbol.asyncDispose]();
});

const clusterKey = (): Uint8Array => {
  const key = lab.cluster.clusterKeys[0]?.key;
  if (!key) throw new Error("a cluster has a key");
  return key;
};

const truth = (): Claims => ({ clusterId: lab.cluster.clusterId, token, clusterKey: clusterKey() });

/** The agent counts the fault, closes the channel, has no link with the liar, and nobody else notices. */
async function refused(channel: RawChannel, fault: string): Promise<void> {
  await until(fault, () => faults(pair.left, fault) === 1);
  await channel.closed;
  expect(hasLink(pair.left, attacker.identity.id)).toBe(false);
  await pair.unharmed();
}

test("a raw peer that has everything is admitted, so what is refused below is refused for its lie", async () => {
  const channel = await attacker.dial(pair.left.id);
  expect((await attacker.handshake(channel, truth())).outcome).toBe("admitted");
  await until("the link", () => hasLink(pair.left, attacker.identity.id));
  await pair.unharmed();
});

test("a peer with a valid token but another cluster key is refused, and not told why", async () => {
  const channel = await attacker.dial(pair.left.id);
  const { outcome } = await attacker.handshake(channel, { ...truth(), clusterKey: crypto.randomBytes(32) });
  expect(outcome).toBe("unspecified");
  await refused(channel, "admission-bad-mac");
});

test("a peer without the cluster key that sends our own proof back is refused", async () => {
  const channel = await attacker.dial(pair.left.id);
  let echoed = 0;
  channel.pipe = (frame) => {
    if (frame[0] !== FrameKind.proof) return;
    echoed++;
    channel.send(frame.slice());
  };
  channel.send(attacker.hello(truth()));
  await refused(channel, "admission-bad-mac");
  expect(echoed).toBe(1);
});

test("a peer that sends our hello back is refused as ourselves", async () => {
  const channel = await attacker.dial(pair.left.id);
  channel.pipe = (frame) => {
    if (frame[0] === FrameKind.hello) channel.send(frame.slice());
  };
  for (const frame of channel.heard.splice(0)) channel.pipe(frame);
  await refused(channel, "admission-self");
});

test("the frames of an admission that succeeded are worth nothing on another channel", async () => {
  const first = await attacker.dial(pair.left.id);
  const { outcome, sent } = await attacker.handshake(first, truth());
  expect(outcome).toBe("admitted");
  first.close();
  await until("the end of the first link", () => !hasLink(pair.left, attacker.identity.id));
  const second = await attacker.dial(pair.left.id);
  for (const frame of sent) second.send(frame.slice());
  await refused(second, "admission-bad-mac");
});

test.each([
  ["a frame of a link", Uint8Array.of(FIRST_LINK_FRAME, 1, 2, 3)],
  ["bytes of no kind", new Uint8Array(1_024).fill(0xee)],
])("%s before admission ends the channel and reaches nothing", async (_, frame) => {
  const channel = await attacker.dial(pair.left.id);
  const before = pair.left.members().length;
  channel.send(frame);
  await refused(channel, "admission-frame-before-admission");
  expect(pair.left.members().length).toBe(before);
});

test("a silent channel is closed after five seconds", async () => {
  const channel = await attacker.dial(pair.left.id);
  await refused(channel, "admission-timeout");
});

test("a member's token shown by another node key is refused on a link", async () => {
  const stolen = await lab.token(pair.right.id);
  const channel = await attacker.dial(pair.left.id);
  expect((await attacker.handshake(channel, { ...truth(), token: stolen })).outcome).toBe("wrong-subject");
  await refused(channel, "admission-wrong-subject");
});

test("a member's identity claimed with its token, without its key, is refused on a link", async () => {
  const id: PeerId = pair.right.id;
  const stolen = await lab.token(id);
  const channel = await attacker.dial(pair.left.id);
  expect((await attacker.handshake(channel, { ...truth(), id, token: stolen })).outcome).toBe("unspecified");
  await refused(channel, "admission-unexpected-peer");
});

test("an expired token is refused on a link, although the server still knows a valid one", async () => {
  const expired = await lab.token(attacker.identity.id, -61_000);
  const channel = await attacker.dial(pair.left.id);
  expect((await attacker.handshake(channel, { ...truth(), token: expired })).outcome).toBe("expired");
  await refused(channel, "admission-expired");
});
