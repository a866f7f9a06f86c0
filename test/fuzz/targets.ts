import { auditedHandlers } from "../../src/cli/audited-handlers.ts";
import { controlHandlers } from "../../src/cli/handlers.ts";
import { parseSettings } from "../../src/cli/settings.ts";
import { signalSettings } from "../../src/cli/signal-settings.ts";
import { parseStunSection } from "../../src/cli/stun-settings.ts";
import { parseYaml } from "../../src/cli/yaml.ts";
import { parseControlRequest } from "../../src/drivers/control.ts";
import { createTokenVerifier } from "../../src/drivers/tokens.ts";
import { StarlingError } from "../../src/errors.ts";
import { decodeHave, decodeKept, decodeLines, encodeHave, encodeKept } from "../../src/proto/audit/copy-messages.ts";
import { parseAuditHead, parseAuditLine } from "../../src/proto/audit/entry.ts";
import { utf8 } from "../../src/proto/bytes.ts";
import { decodeDecree, KINDS } from "../../src/proto/decrees/decree.ts";
import { decodeDecreeMessage } from "../../src/proto/decrees/messages.ts";
import { readDecree } from "../../src/proto/decrees/rank.ts";
import { parseSdp } from "../../src/proto/negotiation/sdp.ts";
import { decodeSignalBody } from "../../src/proto/negotiation/signal.ts";
import { SeededRandom } from "../../src/proto/random.ts";
import { decodeLetter } from "../../src/proto/session/envelope.ts";
import { encodeClientMessage } from "../../src/proto/signaling/client-messages.ts";
import { encodeServerMessage } from "../../src/proto/signaling/server-messages.ts";
import { Link } from "../../src/proto/streams/link.ts";
import { certificateCredential, certificateOf } from "../../src/proto/trust/certificate.ts";
import { parseClusterId } from "../../src/proto/trust/cluster-id.ts";
import { parseInvite } from "../../src/proto/trust/invite.ts";
import { decodeIssuers, decodeSignedIssuers } from "../../src/proto/trust/issuers.ts";
import { decodeSecrets } from "../../src/proto/trust/keychain.ts";
import { optionsOf, Side } from "../proto/admission/handshake.ts";
import { Agent as ClientAgent } from "../proto/signaling/client-agent.ts";
import { CLUSTER, instanceOf, SERVER, Server, testPeer } from "../proto/signaling/rooms-harness.ts";
import type { MeshNode } from "../sim/mesh-node.ts";
import { MeshRun } from "../sim/mesh-run.ts";

/**
 * Everything that reads bytes of strangers, each behind one function that must return, whatever it is given. Machines are fed
 * as a whole and not only their decoders: what a decoder lets pass is the next line's input.
 */
export interface Target {
  readonly name: string;
  /** Good inputs to begin with. */
  readonly corpus: readonly Uint8Array[];
  /** Takes one input. Throws, or rejects, only for a bug. */
  readonly take: (input: Uint8Array) => void | Promise<void>;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
const one = new Uint8Array(1);

/** Messages of a small mesh as they passed, and a member that hears them spoiled. */
function meshTarget(): Target {
  const corpus: Uint8Array[] = [];
  const lanes: number[] = [];
  const seen = new Map<number, number>();
  const run = new MeshRun({
    nodes: 6,
    seed: 1,
    tap: (message) => {
      const kind = message.lane * 256 + (message.bytes[1] ?? 0);
      const count = seen.get(kind) ?? 0;
      seen.set(kind, count + 1);
      if (count >= 8) return;
      corpus.push(message.bytes.slice());
      lanes.push(message.lane);
    },
  });
  const { world } = run;
  for (let index = 0; index < 6; index++) world.start(index);
  world.run(5_000);
  for (let index = 0; index < 6; index++) {
    const request = index;
    world.command(index, { type: "put", request, bucket: "app", key: `key ${index}`, value: one, replicas: 2 });
    world.command(index, {
      type: "put",
      request: 10 + index,
      bucket: "app",
      key: "big",
      value: new Uint8Array(60_000),
      replicas: 1,
    });
    world.command(index, { type: "publish", topic: "news", payload: one });
  }
  world.run(5_000);
  world.crash(5);
  world.run(10_000);
  const node = world.node(0) as MeshNode;
  const peers = [1, 2, 3].map((index) => world.idOf(index));
  let turn = 0;
  return {
    name: "mesh",
    corpus,
    take(bytes) {
      const lane = lanes[turn % lanes.length] as 0;
      const peer = peers[turn++ % peers.length] as ReturnType<typeof testPeer>;
      node.handle({ type: "message", peer, lane, bytes }, world.now + turn);
      if (turn % 64 === 0) node.handle({ type: "timeout" }, world.now + turn);
      // Whoever misbehaves is cut off; it comes back at once.
      if (turn % 1_024 === 0)
        for (const back of peers)
          node.handle({ type: "link-down", peer: back, deliberate: false, reason: "dropped" }, world.now + turn);
      if (turn % 1_024 === 0)
        for (const back of peers) node.handle({ type: "link-up", peer: back, rttMs: 20 }, world.now + turn);
    },
  };
}

function linkTarget(): Target {
  const sender = new Link("dialer");
  const frames: Uint8Array[] = [];
  const keep = (now: number): void => {
    for (const output of sender.handle({ type: "flush", bufferedBytes: 0 }, now))
      if (output.type === "frame") frames.push(output.bytes.slice());
  };
  sender.handle({ type: "open", protocol: "p/1" }, 1);
  keep(1);
  sender.handle({ type: "ping", id: 1 }, 2);
  for (const stream of [0, 1, 2, 3, 8])
    sender.handle({ type: "send", stream, bytes: new Uint8Array(300).fill(stream) }, 2);
  keep(2);
  sender.handle({ type: "send", stream: 8, bytes: new Uint8Array(40_000) }, 3);
  keep(3);
  sender.handle({ type: "end", stream: 8 }, 4);
  sender.handle({ type: "goodbye", reason: "leaving" }, 4);
  keep(4);
  let link = new Link("answerer");
  let now = 10;
  return {
    name: "link",
    corpus: frames,
    take(bytes) {
      now++;
      const outputs = [
        ...link.handle({ type: "frame", bytes }, now),
        ...link.handle({ type: "flush", bufferedBytes: 0 }, now),
      ];
      if (outputs.some(({ type }) => type === "dead") || now % 500 === 0) link = new Link("answerer");
    },
  };
}

function admissionTarget(): Target {
  const dialer = new Side(optionsOf("dialer"));
  dialer.input({ type: "open" });
  const answerer = new Side(optionsOf("answerer"));
  answerer.input({ type: "open" });
  for (const bytes of [...answerer.sent]) dialer.input({ type: "frame", bytes });
  const corpus = [...dialer.sent, ...answerer.sent];
  let side = new Side(optionsOf("answerer"));
  let turn = 0;
  return {
    name: "admission",
    corpus,
    take(bytes) {
      if (turn++ % 3 === 0) {
        side = new Side(optionsOf("answerer"));
        side.input({ type: "open" });
        if (turn % 2 === 0) side.input({ type: "frame", bytes: corpus[0] as Uint8Array });
      }
      side.input({ type: "frame", bytes });
    },
  };
}

function signalingServerTarget(): Target {
  const peer = testPeer(1);
  const corpus = [
    encodeClientMessage({ type: "hello", cluster: CLUSTER, peer, instance: instanceOf(1), serverName: SERVER }),
    encodeClientMessage({ type: "login", at: 1_700_000_000_000, signature: new Uint8Array(64), token: "token" }),
    encodeClientMessage({ type: "exchange", kid: "kid", bytes: one }),
    encodeClientMessage({ type: "present", record: one }),
    encodeClientMessage({ type: "introduce", count: 3 }),
    encodeClientMessage({ type: "signal", to: peer, bytes: one, id: 1 }),
    encodeClientMessage({ type: "renew", token: "token" }),
    encodeClientMessage({ type: "time", id: 1 }),
    encodeClientMessage({ type: "desk", desk: one }),
    encodeClientMessage({ type: "answer", id: 1, bytes: one }),
    encodeClientMessage({ type: "goodbye" }),
  ];
  const server = new Server();
  let connection = 0;
  return {
    name: "signaling-server",
    corpus,
    take(bytes) {
      if (++connection % 4 === 0) server.pass(1_000);
      server.connect(connection, `192.0.2.${connection % 250}`);
      if (connection % 2 === 0) server.handle({ type: "message", connection, bytes: corpus[0] as Uint8Array });
      server.handle({ type: "message", connection, bytes });
      server.handle({ type: "disconnected", connection });
    },
  };
}

function signalingClientTarget(): Target {
  const iceServers = [
    { urls: ["turn:192.0.2.1:3478"], username: "name", credential: "word", expiresAt: 1_800_000_000_000 },
  ];
  const rival = { nonce: one, serverName: SERVER, instance: instanceOf(2), at: 1, signature: new Uint8Array(64) };
  const corpus = [
    encodeServerMessage({
      type: "challenge",
      version: 1,
      nonce: new Uint8Array(32),
      serverName: SERVER,
      serverTime: 1_700_000_000_000,
      desks: [one],
    }),
    encodeServerMessage({
      type: "welcome",
      expiresAt: 1_800_000_000_000,
      issuers: one,
      introductions: [one],
      iceServers,
    }),
    encodeServerMessage({ type: "exchanged", bytes: one }),
    encodeServerMessage({ type: "introductions", records: [one, one] }),
    encodeServerMessage({ type: "signal", from: testPeer(2), bytes: one }),
    encodeServerMessage({ type: "asked", id: 1, bytes: one }),
    encodeServerMessage({ type: "undelivered", to: testPeer(2), id: 1, reason: "absent" }),
    encodeServerMessage({ type: "renewed", token: "token", expiresAt: 1_800_000_000_000, iceServers }),
    encodeServerMessage({ type: "unrenewed", code: "token-revoked", detail: "revoked" }),
    encodeServerMessage({ type: "time", id: 1, serverTime: 1_700_000_000_000 }),
    encodeServerMessage({ type: "expiring", expiresAt: 1_800_000_000_000 }),
    encodeServerMessage({ type: "fenced", rival }),
    encodeServerMessage({ type: "refused", code: "full", detail: "full" }),
    encodeServerMessage({ type: "going-away", reconnectAfterMs: 1_000 }),
  ];
  let agent = new ClientAgent();
  let turn = 0;
  return {
    name: "signaling-client",
    corpus,
    take(bytes) {
      if (turn++ % 8 === 0) {
        agent = new ClientAgent();
        agent.pass(1);
        agent.handle({ type: "opened", attempt: agent.attempt });
        if (turn % 3 === 0) agent.handle({ type: "received", attempt: agent.attempt, bytes: corpus[0] as Uint8Array });
      }
      agent.handle({ type: "received", attempt: agent.attempt, bytes });
    },
  };
}

const TOKEN = `${Buffer.from('{"alg":"EdDSA","kid":"aaaaaaaaaaaaaaaa","typ":"JWT"}').toString("base64url")}.${Buffer.from(
  JSON.stringify({
    iss: "a".repeat(32),
    aud: "starling/member/1",
    scope: "mesh:join kv:*",
    role: "member",
    jti: "AAAAAAAAAAAAAAAAAAAAAA",
    iat: 1_700_000_000,
    nbf: 1_700_000_000,
    exp: 1_700_086_400,
    sub: testPeer(1),
    place: "AAAAAAAAAAAAAAAAAAAAAA",
  }),
).toString("base64url")}.${Buffer.alloc(64, 1).toString("base64url")}`;

function tokenTarget(): Target {
  const verifier = createTokenVerifier();
  const issuer = {
    kid: "aaaaaaaaaaaaaaaa",
    publicKey: Uint8Array.from(Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex")),
    scopes: ["*"],
    notAfter: 9e12,
  };
  const expected = {
    issuers: { version: 1, issuers: [issuer] },
    clusterId: parseClusterId("a".repeat(32)) ?? "",
    now: 1_700_000_001_000,
  };
  return {
    name: "token",
    corpus: [utf8(TOKEN), utf8(TOKEN.replace(/^[^.]+/, "e30")), utf8("a.b.c")],
    async take(bytes) {
      const token = text(bytes);
      const verdicts = [
        await verifier.verifyMemberToken(token, expected),
        await verifier.verifyJoinToken(token, expected),
      ];
      if (verdicts.some(({ ok }) => ok)) throw new Error("a token that nobody signed was accepted");
    },
  };
}

/** Pure parsers of everything else that strangers hand over. */
function parserTarget(): Target {
  const sdp =
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 " +
    "AA:".repeat(31) +
    "AA\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
  const parsers: readonly ((bytes: Uint8Array) => unknown)[] = [
    decodeSignalBody,
    decodeLetter,
    decodeIssuers,
    decodeSignedIssuers,
    decodeDecree,
    decodeDecreeMessage,
    decodeSecrets,
    (input) => KINDS.map((kind) => readDecree({ kind, signer: "", body: input, signature: one })),
    (bytes) => parseInvite(text(bytes)),
    (bytes) => parseSdp(text(bytes)),
    (bytes) => parseAuditLine(text(bytes)),
    (bytes) => parseAuditHead(text(bytes)),
    decodeHave,
    decodeKept,
    decodeLines,
    (bytes) => certificateOf(text(bytes)),
  ];
  return {
    name: "parsers",
    corpus: [
      utf8(sdp),
      utf8(`starling1-${"A".repeat(200)}`),
      utf8(`{"seq":1,"prev":"0","sig":"${"A".repeat(86)}"}`),
      Uint8Array.of(0x93, 1, 0xc4, 2, 1, 2, 0xa1, 0x61),
      encodeHave({ seq: 7, hash: "a".repeat(64) }),
      encodeKept(7),
      utf8(certificateCredential({ certificate: new Uint8Array(300), at: 1_800_000_000_000, signature: one })),
    ],
    take(bytes) {
      for (const parse of parsers) parse(bytes.slice());
    },
  };
}

const signalOf = (values: unknown): unknown =>
  typeof values === "object" && values !== null && "signal" in values ? values.signal : undefined;

function configTarget(): Target {
  const file = `# a comment\nname: node\nlabels: { site: home, &a rack: "1" }\nsignaling:\n  - wss://signal.example\niceServers:\n  - urls: [ "stun:192.0.2.1:3478" ]\n    username: a\n    credential: b\nrtc: auto\nloopback: false\nlog: info\nmetrics: 127.0.0.1:9464\n`;
  const servers = `stun:\n  listen: [ "127.0.0.1:3478" ]\n  realm: a\n  minPort: 5000\nsignal:\n  limits:\n    connectionsPerAddress: 64\n    messages: { perSecond: 50, burst: 200 }\n  oidc:\n    issuer: https://id.example\n    clientId: a\n    grants:\n      - { value: "*", role: member, scopes: ["mesh:join"] }\n`;
  return {
    name: "config",
    corpus: [
      utf8(file),
      utf8(servers),
      utf8("stun: &a [*a]\n"),
      utf8("a: &a [*a, *a]\n"),
      utf8("{}"),
      utf8("name: !!js/function 'x'\n"),
    ],
    take(bytes) {
      const input = text(bytes);
      const sections = [
        () => parseSettings(input, "the file"),
        () => parseStunSection(input, "the file"),
        () => signalSettings(signalOf(parseYaml(input, "the file")), new Map()),
      ];
      for (const read of sections)
        try {
          read();
        } catch (error) {
          if (!(error instanceof StarlingError)) throw error;
        }
    },
  };
}

function controlTarget(): Target {
  const entry = { key: "k", value: one, version: "v", author: testPeer(1), writtenAt: new Date(0), text: () => "" };
  const bucket = {
    get: async () => entry,
    put: async () => ({}),
    delete: async () => ({}),
    list: async () => [entry],
    watch: async function* () {},
    policy: () => ({}),
    setPolicy: async () => undefined,
  };
  const agent = {
    id: testPeer(1),
    audit: { record: () => undefined },
    status: () => ({ buckets: [] }),
    members: () => [],
    ping: async () => ({}),
    netcheck: async () => ({}),
    publish: () => undefined,
    subscribe: async function* () {},
    bucket: () => bucket,
    why: async () => ({}),
    backup: async () => ({}),
    rotateToken: async () => ({ id: "AAAA", expiresAt: new Date(0) }),
    rotations: { root: async () => ({}), issuing: async () => ({}), rest: async () => ({}), turn: async () => ({}) },
    setAside: () => [],
    administration: { revoke: async () => true, rekey: async () => 1, keys: async () => [] },
  };
  // A stub of the few methods that commands call: what is tried here is what stands before them.
  const handlers = auditedHandlers(
    agent,
    controlHandlers(agent as never, async () => undefined),
  );
  const line = (command: string, parameters: object): Uint8Array => utf8(JSON.stringify({ command, parameters }));
  return {
    name: "control",
    corpus: [
      ...[...handlers.keys()].map((command) => line(command, {})),
      line("kv.put", { bucket: "app", key: "k", value: "AAAA", replicas: 2, timeoutMs: 10 }),
      line("kv.list", { bucket: "app", prefix: "k", limit: 10, values: true }),
      line("ping", { peer: "node", timeoutMs: 10 }),
      line("token.revoke", { target: testPeer(2), keyFile: "/k", rekey: false }),
      line("keys.change", { change: { what: "cluster", graceMs: 10 } }),
      line("keys.change", { change: { what: "install", key: "AAAA" } }),
      line("keys.rotate", { what: "issuing", keyFile: "/k", rootKeyFile: "/r", waitMs: 10, overlapMs: 10 }),
      line("why", { peer: "node" }),
      line("topic.publish", { topic: "news", payload: "AAAA" }),
    ],
    async take(bytes) {
      const request = parseControlRequest(text(bytes));
      const handler = request && handlers.get(request.command);
      if (request === undefined || handler === undefined) return;
      await handler(request.parameters, () => undefined, AbortSignal.abort()).catch((error: unknown) => {
        if (!(error instanceof StarlingError)) throw error;
      });
    },
  };
}

const MAKERS: Readonly<Record<string, () => Target>> = {
  mesh: meshTarget,
  link: linkTarget,
  admission: admissionTarget,
  "signaling-server": signalingServerTarget,
  "signaling-client": signalingClientTarget,
  token: tokenTarget,
  parsers: parserTarget,
  config: configTarget,
  control: controlTarget,
};

export const TARGETS: readonly string[] = Object.keys(MAKERS);

export function targetOf(name: string): Target | undefined {
  return MAKERS[name]?.();
}

/** A random source for a target: the same inputs for the same seed. */
export function fuzzRandom(name: string, seed: number): SeededRandom {
  return new SeededRandom(seed).fork(name) as SeededRandom;
}
