import { createHmac } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { NodeIdentity } from "../../../src/proto/trust/crypto.ts";
import { loginBody } from "../../../src/proto/signaling/login.ts";
import { RawClient } from "../signaling/raw-client.ts";
import { FORGERIES, forgeries } from "./forgery.ts";
import { crypto, faults, hasLink, Lab, type Pair, until } from "./lab.ts";
import { RawPeer } from "./raw-peer.ts";

/**
 * Goal: a token is worth something to its subject, for its life, by an issuer that the cluster's root has named, and to
 * nobody else. Method: the same bad tokens are shown twice, to an honest signaling server and, in the hello of a link, to
 * an honest agent; the latter by a peer that holds the cluster key, so that nothing but the token stands in its way.
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
  const named = { peer, keys: { sign: () => new Uint8Array(64), verify: () => false } };
  const { nonce } = await client.challenge(named, serverName, clusterId);
  const at = Date.now();
  const body = loginBody(clusterId, peer, { nonce, serverName, instance: new Uint8Array(16).fill(1), at });
  const signature = identity.sign("starling/login/1", body);
  client.say({ type: "login", at, signature, credential: { kind: "member", token } });
  const answer = await client.next();
  client.socket.terminate();
  return answer;
}

/** The server refuses the login by this word, counts it, and serves the honest as before. */
async function refusedAtServer(answer: Promise<unknown>, code: string): Promise<void> {
  const { loginsRefused, welcomes, fenced } = lab.server.counters();
  expect(await answer).toMatchObject({ type: "refused", code });
  expect(lab.server.counters()).toMatchObject({ loginsRefused: loginsRefused + 1, welcomes, fenced });
  await pair.unharmed();
}

/** An honest agent refuses the hello with this token, tells the peer the word and counts it. */
async function refusedOnLink(token: string, reason: string): Promise<void> {
  const { clusterId, clusterKeys } = lab.cluster;
  const { identity } = await lab.node();
  const attacker = await RawPeer.login(identity, clusterId, lab.url, await lab.token(identity.id));
  lab.onClose(() => attacker.close());
  const channel = await attacker.dial(pair.left.id);
  const clusterKey = clusterKeys[0]?.key ?? new Uint8Array(32);
  const shown = token === "" ? ((await forgeries(lab, identity.id))[reason as never] ?? "") : token;
  const { outcome } = await attacker.handshake(channel, { clusterId, token: shown, clusterKey });
  void outcome;
}
