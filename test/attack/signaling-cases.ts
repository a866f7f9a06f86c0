import { encodeClientMessage } from "../../src/proto/signaling/client-messages.ts";
import { loginBody } from "../../src/proto/signaling/login.ts";
import type { ServerMessage } from "../../src/proto/signaling/messages.ts";
import { encode } from "../../src/proto/wire/codec.ts";
import type { RawClient } from "../integration/signaling/raw-client.ts";
import { tcp, upgraded } from "../integration/signaling/raw-client.ts";
import { type Answer, crypto, type Field, publicKeyOf } from "./field.ts";

/** Connections that break the rules, each with how the server ends it. */

/** `closed`: by the server, of its own accord. `refused`: with a word. `served`: borne, and the connection goes on. */
export type Ending = "closed" | "refused" | "served";

export interface SignalingCase {
  readonly name: string;
  readonly ending: Ending;
  /** What must have been counted, once for each attack. */
  readonly counter?: string;
  /** Rounds are this many times fewer: it waits for a time-out, or costs the attacker a great deal. */
  readonly share?: number;
  readonly attack: (field: Field) => Promise<Ending>;
}

const one = new Uint8Array(1);

async function ending(client: RawClient): Promise<Ending> {
  let answer: Answer;
  do answer = await client.next();
  while (answer !== undefined && answer.type !== "refused");
  client.socket.terminate();
  return answer?.type === "refused" ? "refused" : "closed";
}

/** The connection still answers, and before that `awaited` has come, if something has to. */
export async function served(client: RawClient, awaited?: ServerMessage["type"]): Promise<Ending> {
  if (awaited !== undefined) {
    let answer: Answer;
    do answer = await client.next();
    while (answer !== undefined && answer.type !== awaited);
  }
  client.say({ type: "time", id: 7 });
  let answer: Answer;
  do answer = await client.next();
  while (answer !== undefined && answer.type !== "time");
  client.socket.terminate();
  return answer === undefined ? "closed" : "served";
}

/** A stranger says these bytes as its first message. */
const first =
  (bytes: Uint8Array | (() => Uint8Array)): SignalingCase["attack"] =>
  async (field) => {
    const client = await field.stranger();
    client.socket.send(typeof bytes === "function" ? bytes() : bytes);
    return ending(client);
  };

/** A member says these bytes. */
const asMember =
  (bytes: Uint8Array | ((field: Field) => Uint8Array), end: typeof ending = ending): SignalingCase["attack"] =>
  async (field) => {
    const client = await field.member();
    client.socket.send(typeof bytes === "function" ? bytes(field) : bytes);
    return end(client);
  };

/** Bytes on an upgraded socket, as no library would write them. */
const frames =
  (write: (send: (bytes: Uint8Array) => void) => void): SignalingCase["attack"] =>
  async (field) => {
    const { socket, closed } = await upgraded(field.port, field.address());
    write((bytes) => socket.write(bytes));
    await closed;
    return "closed";
  };

async function challenged(field: Field, cluster: string = field.cluster.clusterId, identity = field.identity()) {
  const client = await field.stranger();
  const instance = new Uint8Array(16).fill(1);
  client.say({ type: "hello", cluster, peer: identity.id, instance, serverName: field.serverName });
  return { client, identity, challenge: await client.next() };
}

const repeat = (count: number, action: (index: number) => void): void => {
  for (let index = 0; index < count; index++) action(index);
};

const HELLO = 1;
const LOGIN = 2;

export const SIGNALING_CASES: readonly SignalingCase[] = [
  {
    name: "a text message",
    ending: "closed",
    counter: "protocolErrors",
    attack: async (field) => {
      const client = await field.stranger();
      client.socket.send("hello");
      return ending(client);
    },
  },
  {
    name: "bytes that are no message",
    ending: "refused",
    counter: "malformed",
    attack: first(() => crypto.randomBytes(500).fill(0xc1, 0, 1)),
  },
  { name: "an empty message", ending: "refused", counter: "malformed", attack: first(new Uint8Array(0)) },
  {
    name: "a message and a byte more",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0x91, 8, 0)),
  },
  { name: "a depth bomb", ending: "refused", counter: "malformed", attack: first(new Uint8Array(8_000).fill(0x91)) },
  {
    name: "a depth bomb by a member",
    ending: "refused",
    counter: "malformed",
    attack: asMember(new Uint8Array(66_000).fill(0x91)),
  },
  {
    name: "an array that promises four billion items",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)),
  },
  {
    name: "a map that promises four billion pairs",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff)),
  },
  {
    name: "a text that promises four gigabytes",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0x92, 1, 0xdb, 0xff, 0xff, 0xff, 0xff, 0x41)),
  },
  {
    name: "rubbish for a hello in its request",
    ending: "refused",
    counter: "malformed",
    attack: async (field) => ending(await field.stranger(undefined, { "starling-hello": "kZGRkZGRkZGR" })),
  },
  {
    name: "a hello in its request, and once more in a message",
    ending: "refused",
    counter: "unexpected",
    attack: async (field) => {
      const { clusterId } = field.cluster;
      const instance = new Uint8Array(16).fill(1);
      const hello = { type: "hello", cluster: clusterId, peer: field.identity().id, instance } as const;
      const bytes = encodeClientMessage({ ...hello, serverName: field.serverName });
      const header = { "starling-hello": Buffer.from(bytes).toString("base64url") };
      const client = await field.stranger(undefined, header);
      client.socket.send(bytes);
      return ending(client);
    },
  },
  {
    name: "bytes that promise four gigabytes",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0x92, 1, 0xc6, 0xff, 0xff, 0xff, 0xff, 0x41)),
  },
  {
    name: "an extension type",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0x91, 0xd6, 0xff, 0, 0, 0, 0)),
  },
  {
    name: "a text that is no UTF-8",
    ending: "refused",
    counter: "malformed",
    attack: first(Uint8Array.of(0x92, 1, 0xa2, 0xc3, 0x28)),
  },
  { name: "a kind that is no number", ending: "refused", counter: "malformed", attack: first(encode(["hello", 1])) },
  { name: "a kind that does not exist", ending: "refused", counter: "malformed", attack: first(encode([55])) },
  {
    name: "a kind of the server's own",
    ending: "refused",
    counter: "malformed",
    attack: first(encode([64, 1, new Uint8Array(32), "x", 1, []])),
  },
  {
    name: "a hello without versions",
    ending: "refused",
    counter: "loginsRefused",
    attack: first(encode([HELLO, [], "c", new Uint8Array(32), new Uint8Array(16), "x"])),
  },
  { name: "a hello of another version", ending: "refused", attack: first(encode([HELLO, [99], "future"])) },
  {
    name: "a hello with a field too many",
    ending: "refused",
    counter: "malformed",
    attack: first(encode([HELLO, [1], "c", new Uint8Array(32), new Uint8Array(16), "x", 1])),
  },
  {
    name: "a hello to another server",
    ending: "refused",
    counter: "loginsRefused",
    attack: async (field) => {
      const client = await field.stranger();
      client.say({
        type: "hello",
        cluster: field.cluster.clusterId,
        peer: field.identity().id,
        instance: new Uint8Array(16),
        serverName: "other.example",
      });
      return ending(client);
    },
  },
  {
    name: "a login without a hello",
    ending: "refused",
    counter: "unexpected",
    attack: first(encode([LOGIN, 1, new Uint8Array(64), "token"])),
  },
  {
    name: "a signal without a login",
    ending: "refused",
    counter: "unexpected",
    attack: async (field) => {
      const { client, identity } = await challenged(field);
      client.say({ type: "signal", to: identity.id, bytes: one, id: 1 });
      return ending(client);
    },
  },
  {
    name: "a second hello",
    ending: "refused",
    counter: "unexpected",
    attack: async (field) => {
      const { client, identity } = await challenged(field);
      client.say({
        type: "hello",
        cluster: field.cluster.clusterId,
        peer: identity.id,
        instance: new Uint8Array(16),
        serverName: field.serverName,
      });
      return ending(client);
    },
  },
  {
    name: "a second login",
    ending: "refused",
    counter: "unexpected",
    attack: asMember(encode([LOGIN, 1, new Uint8Array(64), "token"])),
  },
  {
    name: "a login that was heard on another connection",
    ending: "refused",
    counter: "loginsRefused",
    attack: async (field) => {
      const { client, identity, challenge } = await challenged(field);
      const other = await challenged(field, field.cluster.clusterId, identity);
      if (challenge?.type !== "challenge") return "closed";
      const at = Date.now();
      const proof = {
        nonce: challenge.nonce,
        serverName: challenge.serverName,
        instance: new Uint8Array(16).fill(1),
        at,
      };
      const signature = identity.sign("starling/login/1", loginBody(field.cluster.clusterId, identity.id, proof));
      other.client.say({ type: "login", at, signature, token: await field.token(identity.id) });
      client.socket.terminate();
      return ending(other.client);
    },
  },
  {
    name: "a login in another member's name",
    ending: "refused",
    counter: "loginsRefused",
    attack: async (field) => {
      const victim = field.identity();
      const { client, answer } = await field.login(field.identity(), await field.token(victim.id), victim.id);
      client.socket.terminate();
      return answer?.type === "refused" ? "refused" : "served";
    },
  },
  {
    name: "a login under a key of small order",
    ending: "refused",
    attack: async (field) => {
      const client = await field.stranger();
      const key = Uint8Array.from(
        Buffer.from("0100000000000000000000000000000000000000000000000000000000000000", "hex"),
      );
      client.socket.send(encode([HELLO, [1], field.cluster.clusterId, key, new Uint8Array(16), field.serverName]));
      await client.next();
      client.socket.send(
        encode([LOGIN, Date.now(), new Uint8Array(64).fill(1, 0, 1), await field.token(field.identity().id)]),
      );
      return ending(client);
    },
  },
  {
    name: "a login to another cluster",
    ending: "refused",
    counter: "loginsRefused",
    attack: async (field) => {
      const { client, identity, challenge } = await challenged(field, "b".repeat(32));
      if (challenge?.type !== "challenge") return "closed";
      const at = Date.now();
      const proof = {
        nonce: challenge.nonce,
        serverName: challenge.serverName,
        instance: new Uint8Array(16).fill(1),
        at,
      };
      const signature = identity.sign("starling/login/1", loginBody("b".repeat(32), identity.id, proof));
      client.say({ type: "login", at, signature, token: await field.token(identity.id) });
      return ending(client);
    },
  },
  {
    name: "a signal that names its sender itself",
    ending: "refused",
    counter: "malformed",
    attack: asMember((field) =>
      encode([5, publicKeyOf(field.identity().id), one, 1, publicKeyOf(field.identity().id)]),
    ),
  },
  {
    name: "a signal to a key that is none",
    ending: "refused",
    counter: "malformed",
    attack: asMember(encode([5, new Uint8Array(31), one, 1])),
  },
  {
    name: "a signal to nobody",
    ending: "served",
    counter: "absent",
    attack: async (field) => {
      const client = await field.member();
      client.say({ type: "signal", to: field.identity().id, bytes: one, id: 1 });
      return served(client);
    },
  },
  {
    name: "a signal with an id below zero",
    ending: "refused",
    counter: "malformed",
    attack: asMember((field) => encode([5, publicKeyOf(field.identity().id), one, -1])),
  },
  {
    name: "a signal with half an id",
    ending: "refused",
    counter: "malformed",
    attack: asMember((field) => encode([5, publicKeyOf(field.identity().id), one, 0.5])),
  },
  {
    name: "a signal above its size",
    ending: "refused",
    counter: "malformed",
    attack: asMember((field) => encode([5, publicKeyOf(field.identity().id), new Uint8Array(65_537), 1])),
  },
  {
    name: "a message of a megabyte",
    ending: "closed",
    counter: "oversize",
    share: 4,
    attack: asMember(new Uint8Array(1_048_576)),
  },
  {
    name: "a record above its size",
    ending: "refused",
    counter: "malformed",
    attack: asMember(encode([3, new Uint8Array(8_193)])),
  },
  {
    name: "a request for ten thousand records",
    ending: "refused",
    counter: "malformed",
    attack: asMember(encode([4, 10_000])),
  },
  { name: "a request for no record", ending: "refused", counter: "malformed", attack: asMember(encode([4, 0])) },
  {
    name: "a renewal with a token that is none",
    ending: "served",
    counter: "renewalsRefused",
    attack: async (field) => {
      const client = await field.member();
      client.say({ type: "renew", token: "x".repeat(4_000) });
      return served(client, "unrenewed");
    },
  },
  {
    name: "a renewal with another member's token",
    ending: "served",
    counter: "renewalsRefused",
    attack: async (field) => {
      const client = await field.member();
      client.say({ type: "renew", token: await field.token(field.identity().id) });
      return served(client, "unrenewed");
    },
  },
  {
    name: "a desk that nobody has signed",
    ending: "served",
    counter: "desksRefused",
    attack: async (field) => {
      const client = await field.member();
      client.say({ type: "desk", desk: crypto.randomBytes(100) });
      await new Promise((resolve) => setTimeout(resolve, 5));
      return served(client);
    },
  },
  {
    name: "an answer that nobody asked for",
    ending: "served",
    attack: async (field) => {
      const client = await field.member();
      client.say({ type: "answer", id: 1, bytes: one });
      return served(client);
    },
  },
  {
    name: "an exchange at a desk that is not there",
    ending: "refused",
    counter: "exchangesRefused",
    attack: async (field) => {
      const { client } = await challenged(field);
      client.say({ type: "exchange", kid: "aaaaaaaaaaaaaaaa", bytes: one });
      return ending(client);
    },
  },
  {
    name: "an exchange that is no request",
    ending: "refused",
    counter: "exchangesUnanswered",
    attack: async (field) => {
      const { client } = await challenged(field);
      client.say({ type: "exchange", kid: field.mint.kid, bytes: crypto.randomBytes(2_000) });
      return ending(client);
    },
  },
  {
    name: "a frame without a mask",
    ending: "closed",
    counter: "protocolErrors",
    attack: frames((send) => send(Uint8Array.of(0x82, 1, 0))),
  },
  {
    name: "a frame of an unknown kind",
    ending: "closed",
    counter: "protocolErrors",
    attack: frames((send) => send(Uint8Array.of(0xf7, 0x80, 0, 0, 0, 0))),
  },
  {
    name: "a frame with reserved bits",
    ending: "closed",
    counter: "protocolErrors",
    attack: frames((send) => send(Uint8Array.of(0xc2, 0x80, 0, 0, 0, 0))),
  },
  {
    name: "a frame that promises an exabyte",
    ending: "closed",
    counter: "oversize",
    attack: frames((send) => send(Uint8Array.of(0x82, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))),
  },
  {
    name: "a large frame whose end never comes",
    ending: "closed",
    counter: "oversize",
    attack: frames((send) => {
      send(Uint8Array.of(0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0));
      send(new Uint8Array(60_000));
    }),
  },
  {
    name: "a thousand fragments",
    ending: "closed",
    counter: "protocolErrors",
    share: 10,
    attack: frames((send) => {
      send(Uint8Array.of(2, 0x80, 0, 0, 0, 0));
      repeat(1_000, () => send(Uint8Array.of(0, 0x80, 0, 0, 0, 0)));
    }),
  },
  {
    name: "a control frame above its size",
    ending: "closed",
    counter: "protocolErrors",
    attack: frames((send) => send(Uint8Array.of(0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0))),
  },
  {
    name: "a flood of pings",
    ending: "refused",
    counter: "floods",
    share: 20,
    attack: async (field) => {
      const client = await field.member();
      repeat(2_000, () => client.socket.ping(one));
      return ending(client);
    },
  },
  {
    name: "a flood of signals",
    ending: "refused",
    counter: "floods",
    share: 20,
    attack: async (field) => {
      const client = await field.member();
      const to = field.identity().id;
      repeat(2_000, (id) => client.say({ type: "signal", to, bytes: one, id }));
      return ending(client);
    },
  },
  {
    name: "a flood of requests for records",
    ending: "refused",
    counter: "floods",
    share: 20,
    attack: async (field) => {
      const client = await field.member();
      repeat(500, () => client.say({ type: "introduce", count: 16 }));
      return ending(client);
    },
  },
  {
    name: "a flood of renewals",
    ending: "refused",
    counter: "floods",
    share: 20,
    attack: async (field) => {
      const client = await field.member();
      repeat(2_000, () => client.say({ type: "renew", token: "x" }));
      return ending(client);
    },
  },
  {
    name: "no HTTP at all",
    ending: "closed",
    attack: async (field) => {
      const { socket, closed } = await tcp(field.port, field.address());
      socket.write(crypto.randomBytes(1_000));
      await closed;
      return "closed";
    },
  },
  {
    name: "a request with a head of 20 KB",
    ending: "closed",
    attack: async (field) => {
      const { socket, closed } = await tcp(field.port, field.address());
      socket.write(`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`);
      await closed;
      return "closed";
    },
  },
  {
    name: "half a request, and silence",
    ending: "closed",
    counter: "loginTimeouts",
    share: 10,
    attack: async (field) => {
      const { socket, closed } = await tcp(field.port, field.address());
      socket.write("GET / HTTP/1.1\r\nHost:");
      await closed;
      return "closed";
    },
  },
  {
    name: "silence after the upgrade",
    ending: "closed",
    share: 10,
    attack: async (field) => {
      const { closed } = await upgraded(field.port, field.address());
      await closed;
      return "closed";
    },
  },
  {
    name: "silence after the hello",
    ending: "refused",
    counter: "loginTimeouts",
    share: 10,
    attack: async (field) => ending((await challenged(field)).client),
  },
];
