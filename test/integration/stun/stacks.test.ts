import { afterAll, beforeAll, expect, test } from "vitest";
import { nativeStack } from "../../../src/drivers/rtc.native.ts";
import { weriftStack } from "../../../src/drivers/rtc.werift.ts";
import type { IceServer } from "../../../src/proto/negotiation/rtc.ts";
import type { RtcStack } from "../../../src/rtc.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import type { StunServer } from "../../../stun/server.ts";
import { closePair, type Pair, pairOf } from "../../contract/rtc-pair.ts";
import { relayServer, SECRET } from "./lab.ts";

/** Both WebRTC stacks as clients of our server, with nothing but the relay to go by. The relay's address tells which way it went. */
let server: StunServer;
let native: RtcStack;
const werift = weriftStack();

beforeAll(async () => {
  native = await nativeStack();
  server = await relayServer({
    // Another address than that of the direct path, which the native stack tells apart by address.
    relayAddresses: ["127.0.0.2"],
  });
});
afterAll(async () => {
  await werift.close();
  await native.close();
  await server.close();
});

test.each([
  ["werift", () => [werift, werift] as const, ""],
  ["node-datachannel", () => [native, native] as const, ""],
  ["werift and node-datachannel", () => [werift, native] as const, ""],
  ["werift over TCP", () => [werift, werift] as const, "?transport=tcp"],
])("a relay-only pair is open and echoes: %s", async (_name, stacks, query) => {
  const { username, password } = issueCredential(SECRET, "pair", 600_000, Date.now());
  const urls = `turn:127.0.0.1:${server.listening[0]?.port}${query}`;
  const pair = pairThrough(...stacks(), { urls, username, credential: password });
  await Promise.all([pair.initiator.opened(), pair.answerer.opened()]);
  expect(pair.initiator.connection.selectedPair()?.local.kind).toBe("relay");
  const before = server.counters();
  pair.initiator.connection.send(new Uint8Array(20_000).fill(7));
  await pair.answerer.received(1);
  pair.answerer.connection.send(pair.answerer.frames[0] ?? new Uint8Array());
  await pair.initiator.received(1);
  expect(Uint8Array.from(pair.initiator.frames[0] ?? [])).toEqual(new Uint8Array(20_000).fill(7));
  const { bytesToPeers, bytesToClients } = server.counters();
  expect(bytesToPeers - before.bytesToPeers).toBeGreaterThan(20_000);
  expect(bytesToClients - before.bytesToClients).toBeGreaterThan(20_000);
  await closePair(pair);
});

function pairThrough(initiatorStack: RtcStack, answererStack: RtcStack, iceServer: IceServer): Pair {
  const options = { iceServers: [iceServer], iceTransportPolicy: "relay" } as const;
  const pair = pairOf(initiatorStack, answererStack, { options });
  pair.initiator.connection.offer();
  return pair;
}
