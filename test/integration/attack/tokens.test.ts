import { afterEach, beforeEach, expect, test } from "vitest";
import { loginBody } from "../../../src/proto/signaling/login.ts";
import type { NodeIdentity } from "../../../src/proto/trust/crypto.ts";
import { RawClient } from "../signaling/raw-client.ts";
import { FORGERIES, forged } from "./forgery.ts";
import { faults, hasLink, Lab, type Pair, until } from "./lab.ts";
import { RawPeer } from "./raw-peer.ts";

/**
 * Goal: a token is worth something to its subject, for its life, by an issuer that the cluster's root has named, and to
 * nobody else. Method: the same bad tokens are shown to an honest signaling server and, in the hello of a link, to an honest
 * agent; the latter by a peer that holds the cluster key, so that nothing but the token stands in its way.
 */

let lab: Lab;
let pair: Pair;

beforeEach(async () => {
  lab = await Lab.open();
  pair = await lab.pair();
});

afterEach(() => lab[Symbol.asyncDispose]());

/** Logs in by hand: `identity` claims to be `peer` and shows `token`. What the server answers. */
async function login(identity: NodeIdentity, token: string, peer = identity.id): Promise<unknown> {
  const client = await new RawClient(lab.server.port).opened();
  const serverName = `127.0.0.1:${lab.server.port}`;
  const { clusterId } = lab.cluster;
  const keys = { sign: () => new Uint8Array(64), verify: () => false, askDesk: () => "none" };
  const { nonce } = await client.challenge({ peer, keys }, serverName, clusterId);
  const at = Date.now();
  const body = loginBody(clusterId, peer, { nonce, serverName, instance: new Uint8Array(16).fill(1), at });
  const signature = identity.sign("starling/login/1", body);
  client.say({ type: "login", at, signature, token });
  const answer = await client.next();
  client.socket.terminate();
  return answer;
}

/** The server refuses with this word, counts it, sends nobody away for it, and serves the honest as before. */
async function refusedByServer(log: () => Promise<unknown>, code: string): Promise<void> {
  const { loginsRefused, welcomes, fenced } = lab.server.counters();
  expect(await log()).toMatchObject({ type: "refused", code });
  expect(lab.server.counters()).toMatchObject({ loginsRefused: loginsRefused + 1, welcomes, fenced });
  await pair.unharmed();
}

/** An agent refuses the hello with this token, says so to the holder of the cluster key, and counts it. */
async function refusedByAgent(make: (identity: NodeIdentity) => Promise<string>, told: string): Promise<void> {
  const { clusterId, clusterKeys } = lab.cluster;
  const { identity } = await lab.node();
  const attacker = await RawPeer.login(identity, clusterId, lab.url, await lab.token(identity.id));
  lab.onClose(() => attacker.close());
  const channel = await attacker.dial(pair.left.id);
  const token = await make(identity);
  const clusterKey = clusterKeys[0]?.key ?? new Uint8Array(32);
  const { outcome } = await attacker.handshake(channel, { clusterId, token, clusterKey });
  expect(outcome).toBe(told === "bad-signature" ? "unspecified" : told);
  await until("the count", () => faults(pair.left, `admission-${told}`) === 1);
  await channel.closed;
  expect(hasLink(pair.left, identity.id)).toBe(false);
  await pair.unharmed();
}

test.each(FORGERIES)("a token with %s opens no session at a server", async (forgery) => {
  const { identity } = await lab.node();
  const token = await forged(forgery, lab, identity.id);
  await refusedByServer(() => login(identity, token), "token-invalid");
});

test.each(FORGERIES)("a token with %s opens no link", async (forgery, told) => {
  await refusedByAgent((identity) => forged(forgery, lab, identity.id), told);
});

test("a token that has expired opens no session at a server", async () => {
  const { identity } = await lab.node();
  const token = await lab.token(identity.id, -61_000);
  await refusedByServer(() => login(identity, token), "token-expired");
});

test("a member's token in other hands opens no session at a server", async () => {
  const { identity } = await lab.node();
  const stolen = await lab.token(pair.right.id);
  await refusedByServer(() => login(identity, stolen), "token-mismatch");
});

test("a member's token shown in the member's name, without its key, opens no session and ends none", async () => {
  const { identity } = await lab.node();
  const stolen = await lab.token(pair.right.id);
  await refusedByServer(() => login(identity, stolen, pair.right.id), "signature-invalid");
  expect(pair.right.status().signaling[0]?.state).toBe("ready");
});

test("the same hand with a token of its own is welcome, so what is refused above is refused for its token", async () => {
  const { identity } = await lab.node();
  expect(await login(identity, await lab.token(identity.id))).toMatchObject({ type: "welcome" });
});
