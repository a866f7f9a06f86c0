import { afterEach, describe, expect, test, vi } from "vitest";
import type { RoomsLimits } from "../../../signaling/proto/limits.ts";
import { type SignalingServer, startSignalingServer } from "../../../signaling/server.ts";
import { systemClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { createIdentity, FakeAuthority } from "../../contract/signaling/authority.ts";
import { joinRaw, RawClient, tcp, upgraded } from "./raw-client.ts";

const now = systemClock();
const lines: { readonly message: string; readonly fields: unknown }[] = [];
let server: SignalingServer | undefined;

async function start(limits: Partial<RoomsLimits> = {}): Promise<SignalingServer> {
  const authority = new FakeAuthority(now);
  lines.length = 0;
  server = await startSignalingServer({
    listen: { host: "127.0.0.1", port: 0 },
    authority: authority.asAuthority(),
    random: systemRandom(),
    now,
    limits,
    logger: {
      debug: () => {},
      info: () => {},
      error: () => {},
      warn: (message, fields) => lines.push({ message, fields }),
    },
  });
  return server;
}

afterEach(async () => {
  await server?.kill();
});

const one = new Uint8Array(1);

/** Two members on an address of their own exchange a signal: the server serves. */
async function expectService(port: number): Promise<void> {
  const [alice, bob] = [createIdentity(), createIdentity()];
  const [first, second] = await Promise.all([joinRaw(port, alice, "127.0.0.9"), joinRaw(port, bob, "127.0.0.9")]);
  first.say({ type: "signal", to: bob.peer, bytes: one, id: 1 });
  expect(await second.next()).toEqual({ type: "signal", from: alice.peer, bytes: one });
  first.socket.terminate();
  second.socket.terminate();
}

describe("who does not hurry", () => {
  test.each([
    ["says nothing at all", (port: number) => tcp(port)],
    [
      "sends half a request",
      async (port: number) => {
        const bare = await tcp(port);
        bare.socket.write("GET / HTTP/1.1\r\nHost:");
        return bare;
      },
    ],
    ["upgrades and says nothing", (port: number) => upgraded(port)],
    [
      "sends half a message",
      async (port: number) => {
        const bare = await upgraded(port);
        bare.socket.write(new Uint8Array([0x82, 0xfe, 0x10, 0x00, 0, 0, 0, 0, 1, 2, 3]));
        return bare;
      },
    ],
  ])("is cut: one who %s", async (_name, open) => {
    const running = await start({ loginMs: 200 });
    const { closed } = await open(running.port);
    await closed;
    expect(running.counters().loginTimeouts).toBe(1);
    await vi.waitFor(() => expect(server?.connections).toBe(0));
  });

  test("is cut: one who drips a request byte by byte", async () => {
    const { port } = await start({ loginMs: 200 });
    const { socket, closed } = await tcp(port);
    socket.write("GET / HTTP/1.1\r\nX: ");
    const drip = setInterval(() => socket.write("x"), 20);
    await closed;
    clearInterval(drip);
    expect(server?.counters().loginTimeouts).toBe(1);
  });

  test("is told so after the hello", async () => {
    const { port } = await start({ loginMs: 200 });
    const client = await new RawClient(port).opened();
    await client.challenge(createIdentity(), `127.0.0.1:${port}`);
    expect(await client.next()).toMatchObject({ type: "refused", code: "login-timeout" });
    expect(await client.closed).toBe(1008);
  });
});

describe("a false login", () => {
  test("with the signature of an earlier connection is refused", async () => {
    const { port } = await start();
    const identity = createIdentity();
    const serverName = `127.0.0.1:${port}`;
    const [first, second] = [await new RawClient(port).opened(), await new RawClient(port).opened()];
    const old = await first.challenge(identity, serverName);
    await second.challenge(identity, serverName);
    expect(await second.login(identity, old)).toMatchObject({ type: "refused", code: "signature-invalid" });
    expect(await first.login(identity, old)).toMatchObject({ type: "welcome" });
  });

  test("signed for another server is refused", async () => {
    const { port } = await start();
    const identity = createIdentity();
    const client = await new RawClient(port).opened();
    const { nonce } = await client.challenge(identity, `127.0.0.1:${port}`);
    const answer = await client.login(identity, { nonce, serverName: "other.example" });
    expect(answer).toMatchObject({ type: "refused", code: "signature-invalid" });
  });

  test("signed by another key is refused, and fences nobody", async () => {
    const { port } = await start();
    const identity = createIdentity();
    const member = await joinRaw(port, identity);
    const thief = await new RawClient(port).opened();
    const challenge = await thief.challenge(identity, `127.0.0.1:${port}`);
    const forged = { peer: identity.peer, keys: createIdentity().keys };
    expect(await thief.login(forged, challenge)).toMatchObject({ type: "refused", code: "signature-invalid" });
    member.say({ type: "time", id: 1 });
    expect(await member.next()).toMatchObject({ type: "time" });
  });

  test("with another cluster's token is refused", async () => {
    const { port } = await start();
    const identity = createIdentity();
    const client = await new RawClient(port).opened();
    const { nonce, serverName } = await client.challenge(identity, `127.0.0.1:${port}`, "cluster-b");
    const answer = await client.login(identity, { nonce, serverName, cluster: "cluster-b" });
    expect(answer).toMatchObject({ type: "refused", code: "cluster-unknown" });
  });
});

describe("bad bytes", () => {
  /** Each sends something bad on a connection of its own; the value is the counter that must rise. */
  const attacks: Record<string, { readonly counter: string; readonly run: (port: number) => Promise<unknown> }> = {
    "a text message": {
      counter: "protocolErrors",
      run: async (port) => {
        const client = await new RawClient(port).opened();
        client.socket.send("hello");
        return client.closed;
      },
    },
    "random bytes for a message": {
      counter: "malformed",
      run: async (port) => {
        const client = await new RawClient(port).opened();
        client.socket.send(crypto.getRandomValues(new Uint8Array(500)).fill(0xc1, 0, 1));
        return client.closed;
      },
    },
    "a depth bomb": {
      counter: "malformed",
      run: async (port) => {
        const client = await new RawClient(port).opened();
        client.socket.send(new Uint8Array(8_000).fill(0x91));
        return client.closed;
      },
    },
    "a depth bomb of a member": {
      counter: "malformed",
      run: async (port) => {
        const client = await joinRaw(port, createIdentity());
        client.socket.send(new Uint8Array(66_000).fill(0x91));
        return client.closed;
      },
    },
    "a length bomb": {
      counter: "malformed",
      run: async (port) => {
        const client = await new RawClient(port).opened();
        client.socket.send(new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff]));
        return client.closed;
      },
    },
    "a message of a megabyte by a member": {
      counter: "oversize",
      run: async (port) => {
        const client = await joinRaw(port, createIdentity());
        client.socket.send(new Uint8Array(1_048_576));
        return client.closed;
      },
    },
    "a large message before the login, of which the end never comes": {
      counter: "oversize",
      run: async (port) => {
        const { socket, closed } = await upgraded(port);
        socket.write(new Uint8Array([0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]));
        socket.write(new Uint8Array(60_000));
        return closed;
      },
    },
    "a frame that promises an exabyte": {
      counter: "oversize",
      run: async (port) => {
        const { socket, closed } = await upgraded(port);
        socket.write(new Uint8Array([0x82, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        return closed;
      },
    },
    "a frame without a mask": {
      counter: "protocolErrors",
      run: async (port) => {
        const { socket, closed } = await upgraded(port);
        socket.write(new Uint8Array([0x82, 0x01, 0x00]));
        return closed;
      },
    },
    "a frame of an unknown kind": {
      counter: "protocolErrors",
      run: async (port) => {
        const { socket, closed } = await upgraded(port);
        socket.write(new Uint8Array([0xf7, 0x80, 0, 0, 0, 0]));
        return closed;
      },
    },
    "a thousand fragments of one message": {
      counter: "protocolErrors",
      run: async (port) => {
        const { socket, closed } = await upgraded(port);
        socket.write(new Uint8Array([0x02, 0x80, 0, 0, 0, 0]));
        for (let count = 0; count < 1_000; count++) socket.write(new Uint8Array([0x00, 0x80, 0, 0, 0, 0]));
        return closed;
      },
    },
    "a flood of pings": {
      counter: "floods",
      run: async (port) => {
        const client = await joinRaw(port, createIdentity());
        for (let count = 0; count < 2_000; count++) client.socket.ping(one);
        return client.closed;
      },
    },
    "a flood of signals to nobody": {
      counter: "floods",
      run: async (port) => {
        const client = await joinRaw(port, createIdentity());
        const { peer } = createIdentity();
        for (let id = 0; id < 2_000; id++) client.say({ type: "signal", to: peer, bytes: one, id });
        return client.closed;
      },
    },
  };

  test.each(Object.entries(attacks))("%s ends its own connection only", async (_name, { counter, run }) => {
    const running = await start();
    const [alice, bob] = [createIdentity(), createIdentity()];
    const first = await joinRaw(running.port, alice, "127.0.0.9");
    const second = await joinRaw(running.port, bob, "127.0.0.9");
    await run(running.port);
    expect(running.counters()).toMatchObject({ [counter]: 1 });
    first.say({ type: "signal", to: bob.peer, bytes: one, id: 1 });
    expect(await second.next()).toEqual({ type: "signal", from: alice.peer, bytes: one });
    expect(lines.length).toBeLessThanOrEqual(1);
  });

  test("that are no HTTP end in nothing", async () => {
    const { port } = await start();
    const { socket, closed } = await tcp(port);
    socket.write(crypto.getRandomValues(new Uint8Array(1_000)));
    await closed;
    const long = await tcp(port);
    long.socket.write(`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`);
    await long.closed;
    const handshake = await fetch(`http://127.0.0.1:${port}/`, { headers: { upgrade: "websocket" } }).catch(
      () => undefined,
    );
    expect(handshake?.status ?? 400).toBeGreaterThanOrEqual(400);
    await expectService(port);
  });
});

describe("many at once", () => {
  test("two thousand connections from one address leave the others their service and the log its calm", async () => {
    const running = await start();
    const before = process.memoryUsage().rss;
    let admitted = 0;
    for (let batch = 0; batch < 10; batch++) {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => tcp(running.port)));
      admitted = Math.max(admitted, running.connections);
      if (batch % 4 === 0) await expectService(running.port);
      if (batch >= 2) for (const { socket } of sockets) socket.destroy();
    }
    await expectService(running.port);
    expect(admitted).toBeLessThanOrEqual(256 + 2);
    const { connectionsRefusedAddress, connectionsRefusedRate } = running.counters();
    expect(connectionsRefusedAddress + connectionsRefusedRate).toBeGreaterThan(1_500);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1_048_576);
    expect(lines.length).toBeLessThanOrEqual(8);
  });

  test("a reader that does not read is dropped, and the sender is not held up", async () => {
    const running = await start({ messages: { perSecond: 1e6, burst: 1e6 } });
    const [alice, bob] = [createIdentity(), createIdentity()];
    const [sender, reader] = [await joinRaw(running.port, alice), await joinRaw(running.port, bob)];
    reader.socket.pause();
    const bytes = new Uint8Array(65_536);
    for (let id = 0; id < 2_000 && running.counters().slowReaders === 0; id++) {
      sender.say({ type: "signal", to: bob.peer, bytes, id });
      if (id % 16 === 0) {
        sender.say({ type: "time", id });
        while ((await sender.next())?.type !== "time");
      }
    }
    expect(running.counters().slowReaders).toBe(1);
    sender.say({ type: "time", id: 1 });
    while ((await sender.next())?.type !== "time");
    reader.socket.terminate();
  });
});

describe("the log", () => {
  test("holds no token, no matter what fails", async () => {
    const { port } = await start();
    const identity = createIdentity();
    const client = await new RawClient(port).opened();
    const { nonce } = await client.challenge(identity, `127.0.0.1:${port}`);
    await client.login(identity, { nonce, serverName: "other.example" });
    expect(lines).toEqual([
      { message: "signaling: loginsRefused", fields: { address: "127.0.0.1", code: "signature-invalid" } },
    ]);
  });
});
