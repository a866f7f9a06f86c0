import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { Authority } from "../../../signaling/authority.ts";
import { type SignalingServer, startSignalingServer } from "../../../signaling/server.ts";
import { systemClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { connectSignaling, parseSignalingUrl, type SignalingEvent } from "../../../src/drivers/signaling.ts";
import { encodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import type { ServerMessage } from "../../../src/proto/signaling/messages.ts";
import { encodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";
import type { Statement } from "../../../src/proto/signed.ts";
import { createIdentity, FakeAuthority, memberToken } from "../../contract/signaling/authority.ts";
import { joinRaw, RawClient, tcp } from "./raw-client.ts";

const now = systemClock();
const random = systemRandom();
const fake = new FakeAuthority(now);
const authority = fake.asAuthority();
const listen = { host: "127.0.0.1", port: 0 };
const servers: SignalingServer[] = [];

async function start(options: Partial<Parameters<typeof startSignalingServer>[0]> = {}): Promise<SignalingServer> {
  const server = await startSignalingServer({ listen, authority, random, now, ...options });
  servers.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.kill()));
});

describe("the signaling server", () => {
  test("answers /healthz, and nothing else that is not a WebSocket", async () => {
    const { port } = await start();
    const healthy = await fetch(`http://127.0.0.1:${port}/healthz`);
    expect([healthy.status, await healthy.json()]).toEqual([200, { status: "ok", connections: 1 }]);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${port}/x`, { method: "POST", body: "y".repeat(100_000) })).status).toBe(404);
  });

  test("takes the hello of a request, says so, and challenges at once; others it waits for", async () => {
    const server = await start({ names: ["signal.example"] });
    const { peer } = createIdentity();
    const instance = new Uint8Array(16).fill(1);
    const hello = { type: "hello", cluster: "cluster-a", peer, instance, serverName: "signal.example" } as const;
    const header = Buffer.from(encodeClientMessage(hello)).toString("base64url");
    const request = (value: string) =>
      `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nstarling-hello: ${value}\r\n\r\n`;
    const answered = async (value: string): Promise<string> => {
      const socket = connect(server.port, "127.0.0.1", () => socket.write(request(value)));
      const [segment] = await once(socket, "data");
      socket.destroy();
      return String(segment);
    };
    const taken = await answered(header);
    expect(taken).toContain("starling-hello: taken");
    expect(taken).toContain("signal.example");
    for (const spoiled of [`${header}=`, "A".repeat(2_000), ""]) {
      const answer = await answered(spoiled);
      expect(answer).toContain("101 Switching Protocols");
      expect(answer).not.toContain("starling-hello");
    }
  });

  test("does not start on a port that is taken, and says so", async () => {
    const { port } = await start();
    await expect(start({ listen: { host: "127.0.0.1", port } })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  test("is known by every address that it listens on, and by the names that it is given", async () => {
    const one = await start();
    expect(one.names).toEqual([`127.0.0.1:${one.port}`, `localhost:${one.port}`]);
    const all = await start({ listen: { host: "0.0.0.0", port: 0 } });
    expect(all.names).toContain(`localhost:${all.port}`);
    const named = await start({ names: ["signal.example"] });
    expect(named.names).toEqual(["signal.example"]);
    const client = await new RawClient(named.port).opened();
    expect(await client.challenge(createIdentity(), "signal.example")).toMatchObject({ serverName: "signal.example" });
  });

  test("takes the address from a proxy that it trusts, and refuses who comes without one", async () => {
    const header = (value: unknown) => (typeof value === "string" ? value : undefined);
    const server = await start({
      addressOf: (request) => header(request.headers["x-real-ip"]),
      limits: { connectionsPerAddress: 1 },
    });
    const dial = async (address?: string) => {
      const headers = address === undefined ? {} : { "x-real-ip": address };
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}`, { headers });
      return new Promise<string>((resolve) => {
        socket.on("open", () => resolve("open"));
        socket.on("error", () => resolve("refused"));
      });
    };
    expect(await dial("2001:db8::1")).toBe("open");
    // The same /64 is the same source; another one, or IPv4 in IPv6's clothes, is not.
    expect(await dial("2001:db8::2")).toBe("refused");
    expect(await dial("2001:db8:0:1::2")).toBe("open");
    expect(await dial("::ffff:192.0.2.1")).toBe("open");
    expect(await dial("192.0.2.1")).toBe("refused");
    expect(await dial()).toBe("refused");
  });

  test.each<[string, Authority["authenticate"]]>([
    ["rejects", async () => Promise.reject(new Error("the disk is full: secret"))],
    [
      "throws",
      () => {
        throw new TypeError("secret");
      },
    ],
  ])(
    "refuses logins for the time being when its authority %s, and does not say why in the log",
    async (_name, authenticate) => {
      const lines: unknown[] = [];
      const logger = {
        debug: () => {},
        info: () => {},
        error: () => {},
        warn: (...line: unknown[]) => lines.push(line),
      };
      const server = await start({ authority: { ...authority, authenticate }, logger });
      const identity = createIdentity();
      const client = await new RawClient(server.port).opened();
      const challenge = await client.challenge(identity, `127.0.0.1:${server.port}`);
      expect(await client.login(identity, challenge)).toMatchObject({ type: "refused", code: "unavailable" });
      expect(lines).toHaveLength(1);
      expect(JSON.stringify(lines)).not.toContain("secret");
    },
  );

  test("closes within two seconds, whatever its clients do, and more than once without harm", async () => {
    const server = await start();
    const member = await joinRaw(server.port, createIdentity());
    const stubborn = await joinRaw(server.port, createIdentity());
    stubborn.socket.pause();
    await tcp(server.port);
    const before = performance.now();
    const closing = [server.close(), server.close(), server[Symbol.asyncDispose]()];
    expect(await member.next()).toEqual({ type: "going-away", reconnectAfterMs: 1_000 });
    expect(await member.closed).toBe(1001);
    await Promise.all(closing);
    expect(performance.now() - before).toBeLessThan(2_500);
    await server.kill();
    await expect(fetch(`http://127.0.0.1:${server.port}/healthz`)).rejects.toThrow();
    stubborn.socket.terminate();
  });
});

describe("the signaling client's driver", () => {
  const optionsFor = (url: string) => {
    const { peer, keys } = createIdentity();
    const expiresAt = now() + 3_600_000;
    const credential = { kind: "member", token: memberToken(peer, "cluster-a", expiresAt), expiresAt } as const;
    const run = { instance: new Uint8Array(16), startedAt: now() };
    return { url, peer, keys, cluster: "cluster-a", run, credential, random, now };
  };
  const once = (url: string, type: SignalingEvent["type"], change: object = {}) =>
    new Promise<SignalingEvent>((resolve, reject) => {
      const connection = connectSignaling({ ...optionsFor(url), ...change }, (event) => {
        if (event.type === type) connection.close().then(() => resolve(event), reject);
      });
    });

  test("reads a server's name off its URL, and tells where a wire is open to others", () => {
    expect(parseSignalingUrl("wss://Signal.Example/x")).toEqual({
      url: "wss://signal.example/x",
      serverName: "signal.example",
      plaintext: false,
    });
    expect(parseSignalingUrl("wss://signal.example:443")).toMatchObject({ serverName: "signal.example" });
    expect(parseSignalingUrl("ws://192.0.2.1:7000")).toMatchObject({ serverName: "192.0.2.1:7000", plaintext: true });
    for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "a.localhost"])
      expect(parseSignalingUrl(`ws://${host}:7000`)).toMatchObject({ serverName: `${host}:7000`, plaintext: false });
    expect(parseSignalingUrl("ws://127.evil.example")).toMatchObject({ plaintext: true });
    for (const bad of ["http://x", "x", "", "ws://", "wss://user:pw@x", "ws://x/#secret"])
      expect(() => parseSignalingUrl(bad)).toThrow(expect.objectContaining({ code: "config-invalid" }));
  });

  test("says why it cannot connect, and when it tries again", async () => {
    const server = await start();
    await server.kill();
    const event = await once(`ws://127.0.0.1:${server.port}`, "offline");
    expect(event).toMatchObject({ type: "offline", reason: "closed", detail: expect.stringContaining("ECONNREFUSED") });
  });

  test("survives a key that does not sign", async () => {
    const server = await start({ limits: { loginMs: 200 } });
    const keys = {
      sign: () => {
        throw new Error("no key");
      },
      verify: () => false,
    };
    const event = await once(`ws://127.0.0.1:${server.port}`, "offline", { keys });
    expect(event).toMatchObject({ reason: "refused", code: "login-timeout" });
  });

  test("leaves a server that speaks text, or too much", async () => {
    const { WebSocketServer } = await import("ws");
    for (const say of ["text", new Uint8Array(300_000)]) {
      const bad = new WebSocketServer({ host: "127.0.0.1", port: 0 });
      bad.on("connection", (socket) => {
        socket.on("error", () => {});
        socket.send(say);
      });
      await new Promise((resolve) => bad.once("listening", resolve));
      const address = bad.address();
      const port = typeof address === "object" ? address?.port : 0;
      expect(await once(`ws://127.0.0.1:${port}`, "offline")).toMatchObject({ reason: "closed" });
      bad.close();
    }
  });

  test("does not sign for a server that passes on another's challenge", async () => {
    const honest = await start();
    const { WebSocketServer } = await import("ws");
    const thief = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    thief.on("connection", (victim) => {
      const onward = new WebSocket(`ws://127.0.0.1:${honest.port}`);
      victim.pause();
      onward.on("open", () => victim.resume());
      victim.on("message", (data) => onward.send(data));
      onward.on("message", (data) => victim.send(data));
      onward.on("close", () => victim.close());
    });
    await new Promise((resolve) => thief.once("listening", resolve));
    const address = thief.address();
    const port = typeof address === "object" ? address?.port : 0;
    // The hello names the thief, whom the honest server does not know.
    expect(await once(`ws://127.0.0.1:${port}`, "stopped")).toMatchObject({ reason: "server-name" });
    expect(honest.counters().logins).toBe(0);
    thief.close();
  });

  test("is not stopped by a server that makes up a rival", async () => {
    const { WebSocketServer } = await import("ws");
    const liar = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await new Promise((resolve) => liar.once("listening", resolve));
    const address = liar.address();
    const serverName = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
    const nonce = new Uint8Array(32);
    const rival = {
      nonce,
      serverName,
      instance: new Uint8Array(16).fill(9),
      at: now() + 1_000,
      signature: new Uint8Array(64),
    };
    liar.on("connection", (socket) => {
      let heard = 0;
      const say = (message: ServerMessage) => socket.send(encodeServerMessage(message));
      socket.on("message", () => {
        if (++heard === 1) say({ type: "challenge", version: 1, nonce, serverName, serverTime: now(), desks: [] });
        else {
          say({ type: "welcome", expiresAt: now() + 1e6, issuers: nonce, introductions: [], iceServers: [] });
          say({ type: "fenced", rival: { ...rival, at: Math.round(rival.at) } });
        }
      });
    });
    const events: string[] = [];
    const options = optionsFor(`ws://${serverName}`);
    let checked = (): void => {};
    const done = new Promise<void>((resolve) => {
      checked = resolve;
    });
    const verify = (statement: Statement): boolean => {
      setImmediate(checked);
      return options.keys.verify(statement) === true;
    };
    const keys = { ...options.keys, verify };
    const connection = connectSignaling({ ...options, keys }, (event) => events.push(event.type));
    await done;
    expect(events).toEqual(["skew", "ready", "offline"]);
    expect(connection.state).toBe("waiting");
    await connection.close();
    liar.close();
  });

  test("is quiet and without effect once it is closed", async () => {
    const server = await start();
    const events: SignalingEvent[] = [];
    const connection = connectSignaling(optionsFor(`ws://127.0.0.1:${server.port}`), (event) => events.push(event));
    expect(events).toEqual([]);
    await connection.close();
    await connection.close();
    connection.command({ type: "signal", to: createIdentity().peer, bytes: new Uint8Array(1), id: 1 });
    expect(connection.state).toBe("stopped");
    expect(events).toEqual([]);
  });
});
