import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeStack } from "../../src/drivers/rtc.native.ts";
import { weriftStack } from "../../src/drivers/rtc.werift.ts";
import type { IceServer } from "../../src/proto/negotiation/rtc.ts";
import type { RtcStack } from "../../src/rtc.ts";
import { closePair, End, LOOPBACK, type Pair, pairOf } from "./rtc-pair.ts";

/**
 * Relayed connections through coturn, on loopback: it listens on 127.0.0.1 and relays from 127.0.0.2, so that an address tells
 * which way a packet went. Linux only (elsewhere 127.0.0.2 is no address), and only where coturn is installed (`COTURN` names its
 * program, default `turnserver`).
 */
const COTURN = process.env["COTURN"] ?? "turnserver";
const HAS_COTURN = process.platform === "linux" && spawnSync(COTURN, ["--help"]).error === undefined;

const SECRET = "loopback only";
const username = `${Math.floor(Date.now() / 1_000) + 3_600}:tester`;
const credential = createHmac("sha1", SECRET).update(username).digest("base64");

describe.skipIf(!HAS_COTURN)("through coturn", () => {
  let coturn: ChildProcess;
  let port: number;
  let directory: string;
  const werift = weriftStack();
  let native: RtcStack;

  beforeAll(async () => {
    native = await nativeStack();
    directory = mkdtempSync(join(tmpdir(), "coturn-"));
    port = await freePort();
    const settings = [
      "-n",
      "--no-cli",
      "--no-tls",
      "--no-dtls",
      "--listening-ip=127.0.0.1",
      `--listening-port=${port}`,
      "--relay-ip=127.0.0.2",
      "--allow-loopback-peers",
      "--realm=test",
      "--use-auth-secret",
      `--static-auth-secret=${SECRET}`,
      `--pidfile=${join(directory, "pid")}`,
      `--log-file=${join(directory, "log")}`,
      `--userdb=${join(directory, "db")}`,
    ];
    coturn = spawn(COTURN, settings, { stdio: "ignore" });
    await listening(port);
  });
  afterAll(async () => {
    coturn.kill("SIGKILL");
    rmSync(directory, { recursive: true });
    await werift.close();
    await native.close();
  });

  const server = (query = ""): IceServer => ({ urls: `turn:127.0.0.1:${port}${query}`, username, credential });

  for (const [name, stacks] of [
    ["werift", () => [werift, werift] as const],
    ["native", () => [native, native] as const],
    ["native to werift", () => [native, werift] as const],
    ["werift to native", () => [werift, native] as const],
  ] as const) {
    test(`a relay-only initiator is reached by way of the relay, though a direct path exists: ${name}`, async () => {
      const [initiatorStack, answererStack] = stacks();
      const pair = relayedPair(initiatorStack, answererStack, server());
      await Promise.all([pair.initiator.opened(), pair.answerer.opened()]);
      const chosen = pair.initiator.connection.selectedPair();
      expect(chosen?.local.kind).toBe("relay");
      expect(chosen?.local.address).toMatch(/^127\.0\.0\.2:/);
      expect(
        pair.initiator.events.filter((event) => event.type === "candidate" && !/typ relay/.test(event.candidate)),
      ).toEqual([]);
      pair.initiator.connection.send(new Uint8Array(65_536));
      await pair.answerer.received(1);
      pair.answerer.connection.send(new Uint8Array(65_536));
      await pair.initiator.received(1);
      await closePair(pair);
    });
  }

  test("werift speaks TURN over TCP", async () => {
    const pair = relayedPair(werift, werift, server("?transport=tcp"));
    await Promise.all([pair.initiator.opened(), pair.answerer.opened()]);
    expect(pair.initiator.connection.selectedPair()?.local.kind).toBe("relay");
    await closePair(pair);
  });

  test("closing while a relay is being allocated ends at once", async () => {
    for (const stack of [werift, native]) {
      const pair = pairOf(stack, stack, { options: { iceServers: [server()] } });
      pair.initiator.connection.offer();
      await pair.initiator.until("description", () => pair.initiator.count("description") > 0);
      await closePair(pair);
    }
  });
});

test("a TURN and STUN server that never answers keeps neither a connection from opening nor a stack from closing", async () => {
  const silent = createSocket("udp4");
  await new Promise<void>((resolve) => silent.bind(0, "127.0.0.1", resolve));
  const { port } = silent.address();
  const iceServers = [{ urls: [`stun:127.0.0.1:${port}`, `turn:127.0.0.1:${port}`], username, credential }];
  const native = await nativeStack();
  for (const stack of [weriftStack({ stunTimeoutMs: 200 }), native]) {
    const initiator = new End(stack, { ...LOOPBACK, iceServers, initiator: true });
    const since = performance.now();
    initiator.connection.offer();
    await initiator.until("host candidates", () => stack === native || initiator.count("candidate") > 0);
    initiator.connection.close();
    await initiator.closed();
    await stack.close();
    expect(performance.now() - since).toBeLessThan(1_500);
  }
  silent.close();
});

/** Only the initiator keeps to the relay; the answerer has one as well. */
function relayedPair(initiatorStack: RtcStack, answererStack: RtcStack, server: IceServer): Pair {
  const initiatorOptions = { iceTransportPolicy: "relay" } as const;
  const pair = pairOf(initiatorStack, answererStack, { options: { iceServers: [server] }, initiatorOptions });
  pair.initiator.connection.offer();
  return pair;
}

async function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

/** coturn listens on TCP as well, which shows when it is ready. */
async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const isUp = await new Promise<boolean>((resolve) => {
      const probe = createConnection(port, "127.0.0.1");
      probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
      probe.unref();
    });
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("coturn does not listen");
}
