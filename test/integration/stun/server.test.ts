import { connect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { Method, parseMessage, type StunMessage } from "../../../stun/proto/message.ts";
import { StreamFramer } from "../../../stun/proto/stream-framer.ts";
import { type StunEvent, type StunServer, type StunServerOptions, startStunServer } from "../../../stun/server.ts";
import { addressesOf, errorCode, request, udpTransport } from "../../proto/stun/requests.ts";
import { until } from "../until.ts";
import { echo, HAS_OPENSSL, identityOf, makeFiles, USER } from "./lab.ts";
import { RawClient } from "./raw-client.ts";

const PAYLOAD = Uint8Array.of(1, 2, 3);
const open: AsyncDisposable[] = [];
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of open.splice(0)) await server[Symbol.asyncDispose]();
});

async function start(options: Partial<StunServerOptions> = {}): Promise<StunServer> {
  const server = await startStunServer({
    listen: [{ address: "127.0.0.1", port: 0 }],
    realm: USER.realm,
    credentials: { users: [{ name: USER.username, password: USER.password }], secrets: [] },
    relayAddresses: ["127.0.0.1"],
    allowPeers: ["127.0.0.0/8", "::1"],
    ...options,
  });
  open.push(server);
  return server;
}

async function clientOf(server: StunServer, index = 0): Promise<RawClient> {
  const at = server.listening.filter(({ transport }) => transport === "udp")[index];
  if (at === undefined) throw new Error("it does not listen");
  const client = await RawClient.open(at, USER);
  clients.push(client);
  return client;
}

describe("over UDP", () => {
  test.each(["127.0.0.1", "::1"])("a payload goes to a peer and back through a relay on %s", async (address) => {
    const server = await start({ listen: [{ address, port: 0 }], relayAddresses: [address] });
    const client = await clientOf(server);
    const peer = await echo(address);
    const at = { address, port: peer.address().port };
    const family = Uint8Array.of(address === "::1" ? 2 : 1, 0, 0, 0);
    await client.allocate((writer) => writer.bytes(Attribute.requestedAddressFamily, family));
    expect(errorCode((await client.permit(at)) as StunMessage)).toBe(undefined);
    const data = new Promise((resolve) => {
      client.onData = (from, payload) => resolve([from, Uint8Array.from(payload)]);
    });
    client.sendIndication(at, PAYLOAD);
    expect(await data).toEqual([at, PAYLOAD]);
    await client.bind(0x4000, at);
    const channel = new Promise((resolve) => {
      client.onChannelData = (number, payload) => resolve([number, Uint8Array.from(payload)]);
    });
    client.sendOnChannel(0x4000, PAYLOAD);
    expect(await channel).toEqual([0x4000, PAYLOAD]);
    peer.close();
  });

  test("a second family is given from its own address, and an external address is told in place of the own", async () => {
    const server = await start({
      listen: [{ address: "127.0.0.1", port: 0 }],
      relayAddresses: ["127.0.0.1", "::1"],
      externalAddresses: ["9.9.9.9"],
    });
    const client = await clientOf(server);
    const answer = await client.authentic(Method.allocate, (writer) => {
      udpTransport(writer);
      writer.bytes(Attribute.additionalAddressFamily, Uint8Array.of(2, 0, 0, 0));
    });
    const relayed = addressesOf(answer as StunMessage, Attribute.xorRelayedAddress);
    expect(relayed.map(({ address }) => address)).toEqual(["9.9.9.9", "::1"]);
    expect(server.relaySockets).toBe(2);
  });

  test("a pair of ports is even and next, and its second is had with the token", async () => {
    const server = await start({ ports: { first: 42_000, last: 42_099 } });
    const [first, second] = [await clientOf(server), await clientOf(server)];
    const answer = await first.authentic(Method.allocate, (writer) => {
      udpTransport(writer);
      writer.bytes(Attribute.evenPort, Uint8Array.of(0x80));
    });
    const token = (answer as StunMessage).value(Attribute.reservationToken) ?? new Uint8Array();
    const [even] = addressesOf(answer as StunMessage, Attribute.xorRelayedAddress);
    const odd = await second.allocate((writer) => writer.bytes(Attribute.reservationToken, token));
    expect((even?.port ?? 1) % 2).toBe(0);
    expect(odd.port).toBe((even?.port ?? 0) + 1);
  });

  test("ports that somebody else holds are passed over, and when none is left the client is told 508", async () => {
    const taken = await echo();
    const { port } = taken.address();
    const server = await start({ ports: { first: port, last: port } });
    const client = await clientOf(server);
    await expect(client.allocate()).rejects.toThrow("508");
    expect(server.relaySockets).toBe(0);
    taken.close();
    await until(
      "the port to be free",
      async () => (await client.allocate().catch(() => undefined))?.port === port || undefined,
    );
  });

  test("every socket is gone when allocations end by themselves, and the hook hears of each", async () => {
    const events: StunEvent[] = [];
    const server = await start({
      limits: { defaultLifetimeMs: 1_000, maxLifetimeMs: 1_000 },
      onEvent: (event) => events.push(event),
    });
    for (let count = 0; count < 20; count++) await (await clientOf(server)).allocate();
    expect([server.allocations, server.relaySockets]).toEqual([20, 20]);
    await until("all to end", () => server.relaySockets === 0 || undefined);
    expect(server.allocations).toBe(0);
    expect(events.filter(({ type }) => type === "allocation-started").length).toBe(20);
    const reasons = events.map((event) => (event.type === "allocation-ended" ? event.reason : "")).filter(Boolean);
    expect(reasons).toEqual(Array.from({ length: 20 }, () => "expired"));
  });
});

describe("a peer at home is refused, with nothing allowed:", () => {
  test.each([
    ["127.0.0.1", "127.0.0.1"],
    ["a private address", "10.0.0.1"],
    ["the metadata service", "169.254.169.254"],
    ["::1", "::1"],
    ["::ffff:127.0.0.1", "::ffff:127.0.0.1"],
    ["NAT64", "64:ff9b::7f00:1"],
    ["6to4", "2002:7f00:1::"],
  ])("%s", async (_name, address) => {
    const server = await start({ allowPeers: [], relayAddresses: ["127.0.0.1", "::1"] });
    const client = await clientOf(server);
    await client.allocate((writer) => writer.bytes(Attribute.additionalAddressFamily, Uint8Array.of(2, 0, 0, 0)));
    const at = { address, port: 7 };
    expect(errorCode((await client.permit(at)) as StunMessage)).toBe(403);
    expect(errorCode((await client.bind(0x4000, at)) as StunMessage)).toBe(403);
  });

  test("the server's own sockets and external address, but for relayed addresses", async () => {
    const server = await start({ allowPeers: [], externalAddresses: ["9.9.9.9"] });
    const [left, right] = [await clientOf(server), await clientOf(server)];
    await left.allocate();
    const there = await right.allocate();
    const listening = server.listening[0] as { address: string; port: number };
    expect(errorCode((await left.permit(listening)) as StunMessage)).toBe(403);
    expect(errorCode((await left.permit({ ...there, port: 3_478 })) as StunMessage)).toBe(403);
    expect(errorCode((await left.permit(there)) as StunMessage)).toBe(undefined);
  });
});

describe.skipIf(!HAS_OPENSSL)("over TCP and TLS", () => {
  async function streams(limits = {}): Promise<{ server: StunServer; sockets: readonly Socket[] }> {
    const tls = identityOf(await makeFiles());
    const server = await start({ tls, tlsListen: [{ address: "127.0.0.1", port: 0 }], limits });
    const sockets = server.listening.flatMap(({ transport, port }) => {
      if (transport === "udp") return [];
      const at = { host: "127.0.0.1", port };
      return [transport === "tcp" ? connect(at) : tlsConnect({ ...at, rejectUnauthorized: false })];
    });
    for (const socket of sockets) socket.on("error", () => {});
    return { server, sockets };
  }

  test("messages in pieces and several at once are answered in order", async () => {
    const { sockets } = await streams();
    for (const socket of sockets) {
      const [first, second] = [request(Method.binding), request(Method.binding, (writer) => writer.fingerprint())];
      socket.write(first.subarray(0, 7));
      await new Promise((resolve) => setTimeout(resolve, 20));
      socket.write(Buffer.concat([first.subarray(7), second]));
      const answers = await read(socket, 2);
      expect(answers.map((answer) => answer.hasFingerprint)).toEqual([false, true]);
      const mapped = addressesOf(answers[0] as StunMessage, Attribute.xorMappedAddress);
      expect(mapped).toEqual([{ address: "127.0.0.1", port: socket.localPort }]);
      socket.destroy();
    }
  });

  test("a connection that speaks something else is ended, and the server goes on", async () => {
    const { server, sockets } = await streams();
    for (const socket of sockets) {
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      await closed;
    }
    expect(server.counters().streamsMalformed).toBe(2);
    expect(server.connections).toBe(0);
  });

  test("a connection beyond the bound of its address is refused", async () => {
    const { server, sockets } = await streams({ connectionsPerAddress: 2 });
    for (const socket of sockets) {
      socket.write(request(Method.binding));
      await read(socket, 1);
    }
    const extra = connect({ host: "127.0.0.1", port: server.listening[1]?.port ?? 0 });
    await new Promise((resolve) => extra.once("close", resolve).on("error", () => {}));
    expect(server.counters().connectionsRefused).toBe(1);
    for (const socket of sockets) socket.destroy();
  });

  test("TLS below 1.2 is refused", async () => {
    const { server, sockets } = await streams();
    const port = server.listening.find(({ transport }) => transport === "tls")?.port ?? 0;
    const old = tlsConnect({
      host: "127.0.0.1",
      port,
      rejectUnauthorized: false,
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await new Promise((resolve) => old.once("error", resolve));
    for (const socket of sockets) socket.destroy();
    expect(old.destroyed || old.connecting === false).toBe(true);
  });
});

test("with a second address it answers from where it is asked to, and says where that is", async () => {
  const server = await start({ alternate: { address: "127.0.0.2", port: 0 } });
  const udp = server.listening.filter(({ transport }) => transport === "udp");
  expect(new Set(udp.map(({ address }) => address)).size).toBe(2);
  expect(new Set(udp.map(({ port }) => port)).size).toBe(2);
  const client = await clientOf(server);
  for (const [flags, index] of [
    [0, 0],
    [2, 1],
    [4, 2],
    [6, 3],
  ] as const) {
    const from = new Promise((resolve) =>
      client.socket.once("message", (_bytes, { address, port }) => resolve({ address, port })),
    );
    await client.ask(request(Method.binding, (writer) => writer.u32(Attribute.changeRequest, flags)));
    const { address, port } = udp[index] ?? { address: "", port: 0 };
    expect(await from).toEqual({ address, port });
  }
});

test("closing ends every allocation and socket, and may be repeated", async () => {
  const events: string[] = [];
  const server = await start({
    onEvent: (event) => events.push(event.type === "allocation-ended" ? event.reason : event.type),
  });
  await (await clientOf(server)).allocate();
  const socket = connect({ host: "127.0.0.1", port: server.listening[1]?.port ?? 0 });
  await new Promise((resolve) => socket.once("connect", resolve));
  await until("the connection to be seen", () => server.connections === 1 || undefined);
  await Promise.all([server.close(), server.close()]);
  expect([server.relaySockets, server.connections]).toEqual([0, 0]);
  expect(events).toEqual(["allocation-started", "closed"]);
});

/** The next messages that a connection brings. */
function read(socket: Socket, count: number): Promise<StunMessage[]> {
  const framer = new StreamFramer();
  const messages: StunMessage[] = [];
  return new Promise((resolve) => {
    const take = (chunk: Buffer): void => {
      framer.push(chunk, 65_536, (packet) => {
        const message = parseMessage(packet.slice());
        if (message !== undefined) messages.push(message);
      });
      if (messages.length < count) return;
      socket.off("data", take);
      resolve(messages);
    };
    socket.on("data", take);
  });
}
