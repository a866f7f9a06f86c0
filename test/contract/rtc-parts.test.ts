import { describe, expect, test, vi } from "vitest";
import { chooseServers } from "../../src/drivers/rtc-ice-servers.ts";
import { RtcLedger } from "../../src/drivers/rtc-ledger.ts";
import { CandidateOutbox } from "../../src/drivers/rtc-native-candidates.ts";
import { RtcOutlet } from "../../src/drivers/rtc-outlet.ts";
import {
  CandidateInbox,
  isUsable,
  MAX_REMOTE_CANDIDATES,
  remoteDescription,
  summarise,
  takePassiveRole,
} from "../../src/drivers/rtc-remote.ts";
import { SctpGate } from "../../src/drivers/rtc-werift-sctp.ts";

/** The parts that both drivers are made of, and the gate before werift's SCTP. */

const HOST = "candidate:1 1 UDP 2122317823 192.0.2.1 50000 typ host";
const RELAY = "candidate:4 1 udp 16777215 198.51.100.7 40000 typ relay raddr 0.0.0.0 rport 0";
const LOCAL = "candidate:2 1 udp 2113937151 3f1c8b0a-1c1d-4f9e-9d6a-000000000000.local 50000 typ host";

describe("candidates of a peer", () => {
  test("are read as kind and address", () => {
    expect(summarise(HOST)).toEqual({ kind: "host", address: "192.0.2.1:50000" });
    expect(summarise(RELAY)).toEqual({ kind: "relay", address: "198.51.100.7:40000" });
    expect(summarise("candidate:9 1 udp 1 2001:db8::1 5 typ srflx raddr :: rport 0")).toEqual({
      kind: "srflx",
      address: "[2001:db8::1]:5",
    });
  });

  test.each([
    ["a name", "candidate:1 1 UDP 1 example.org 50000 typ host"],
    ["a local name", LOCAL],
    ["no address", "candidate:1 1 UDP 1 999.0.2.1 50000 typ host"],
    ["port zero", "candidate:1 1 UDP 1 192.0.2.1 0 typ host"],
    ["a port too large", "candidate:1 1 UDP 1 192.0.2.1 65536 typ host"],
    ["another component", "candidate:1 2 UDP 1 192.0.2.1 5 typ host"],
    ["an unknown type", "candidate:1 1 UDP 1 192.0.2.1 5 typ hosts"],
    ["two lines", `${HOST}\na=candidate:1 1 UDP 1 192.0.2.1 5 typ host`],
    ["nothing", ""],
  ])("with %s do not reach the stack", (_, candidate) => {
    expect(isUsable(candidate, "0")).toBe(false);
  });

  test("with local names pass where that is asked for, other names never", () => {
    expect(isUsable(LOCAL, "0", { keepLocalNames: true })).toBe(true);
    expect(isUsable("candidate:1 1 UDP 1 example.org 5 typ host", "0", { keepLocalNames: true })).toBe(false);
  });

  test("are relayed ones only where that is the policy", () => {
    expect([HOST, RELAY].filter((line) => isUsable(line, "0", { onlyRelays: true }))).toEqual([RELAY]);
  });

  test("wait for the description, keep their order, and are bounded", () => {
    const seen: string[] = [];
    const inbox = new CandidateInbox({}, (candidate) => seen.push(candidate));
    const lines = Array.from({ length: MAX_REMOTE_CANDIDATES + 10 }, (_, index) =>
      HOST.replace("50000", `${index + 1}`),
    );
    for (const line of lines.slice(0, 3)) inbox.take(line, "0");
    inbox.take("garbage", "0");
    expect(seen).toEqual([]);
    inbox.open();
    expect(seen).toEqual(lines.slice(0, 3));
    for (const line of lines.slice(3)) inbox.take(line, "0");
    expect(seen).toEqual(lines.slice(0, MAX_REMOTE_CANDIDATES));
  });
});

describe("a candidate that a stack calls peer-reflexive", () => {
  const inbox = new CandidateInbox({}, () => undefined);
  inbox.take(RELAY, "0");
  const [, , , , address, port] = RELAY.split(" ");
  const seen = { kind: "prflx", address: `${address}:${port}` } as const;

  test("is what the peer says that it is, since a check may overtake the candidate that it comes from", () => {
    expect(inbox.named(seen)).toEqual({ ...seen, kind: "relay" });
  });

  test("stays what it is where the peer has not offered it, and where the stack knows better", () => {
    const elsewhere = { ...seen, address: "192.0.2.77:7" };
    expect(inbox.named(elsewhere)).toEqual(elsewhere);
    expect(inbox.named({ ...seen, kind: "host" })).toEqual({ ...seen, kind: "host" });
  });
});

describe("descriptions of a peer", () => {
  const FINGERPRINT = `a=fingerprint:sha-256 ${Array(32).fill("AB").join(":")}`;
  const sdp = (...extra: string[]) =>
    ["v=0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", FINGERPRINT, "a=setup:actpass", ...extra, ""].join(
      "\r\n",
    );

  test("pass unchanged but for candidates that do not count", () => {
    const result = remoteDescription(sdp(`a=${HOST}`, `a=${LOCAL}`, "a=candidate:x"), "offer");
    expect(result).toEqual({ ok: true, sdp: sdp(`a=${HOST}`) });
  });

  test("carry a bounded number of candidates", () => {
    const result = remoteDescription(sdp(...Array(100).fill(`a=${HOST}`)), "answer");
    expect(result.ok && result.sdp.split(HOST).length - 1).toBe(MAX_REMOTE_CANDIDATES);
  });

  test("with another fingerprint beside the first do not pass", () => {
    const result = remoteDescription(sdp(FINGERPRINT.replace("AB", "00")), "answer");
    expect(result).toEqual({ ok: false, fault: "unusable answer: two-fingerprints" });
  });

  test("make the answerer passive when the offerer leaves it the choice", () => {
    expect(takePassiveRole(sdp())).toContain("\r\na=setup:active\r\n");
    expect(takePassiveRole(sdp().replace("actpass", "passive"))).toContain("\r\na=setup:passive\r\n");
  });
});

describe("our own candidates on the native stack", () => {
  const outbox = (holdHosts: boolean) => {
    const sent: string[] = [];
    return { sent, box: new CandidateOutbox(["127.0.0.1", "::1"], holdHosts, (candidate) => sent.push(candidate)) };
  };

  test("include the extra addresses once, at the port of the first host candidate", () => {
    const { sent, box } = outbox(false);
    box.take(RELAY, "0");
    box.take(HOST, "0");
    box.take(HOST.replace("192.0.2.1", "192.0.2.2"), "0");
    expect(sent.map((line) => summarise(line)?.address)).toEqual([
      "198.51.100.7:40000",
      "192.0.2.1:50000",
      "127.0.0.1:50000",
      "[::1]:50000",
      "192.0.2.2:50000",
    ]);
  });

  test("wait until ICE has connected if they are host candidates", () => {
    const { sent, box } = outbox(true);
    box.take(HOST, "0");
    box.take(RELAY, "0");
    box.answered();
    expect(sent).toEqual([RELAY]);
    box.release();
    expect(sent.length).toBe(4);
    box.take(HOST, "0");
    expect(sent.at(-1)).toBe(HOST);
    box.close();
  });

  test("leave soon after the answer, and neither without one nor after the end", () => {
    vi.useFakeTimers();
    try {
      const [connecting, unanswered, ended] = [outbox(true), outbox(true), outbox(true)];
      for (const { box } of [connecting, unanswered, ended]) box.take(HOST, "0");
      connecting.box.answered();
      ended.box.answered();
      ended.box.close();
      vi.advanceTimersByTime(99);
      expect(connecting.sent).toEqual([]);
      vi.advanceTimersByTime(1);
      expect([connecting.sent.length, unanswered.sent.length, ended.sent.length]).toEqual([3, 0, 0]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("ICE servers", () => {
  const turn = { urls: "turn:[2001:db8::5]:3479?transport=tcp", username: "1:a", credential: "b" };

  test("are the first of each kind that the stack speaks", () => {
    const iceServers = [
      { urls: ["stuns:secure.example", "stun:one.example", "stun:two.example:1"] },
      turn,
      { ...turn, urls: ["turn:three.example"] },
    ];
    expect(chooseServers({ iceServers }, ["udp"])).toEqual({
      stun: { host: "one.example", port: 3478 },
      turn: { host: "three.example", port: 3478, transport: "udp", username: "1:a", credential: "b" },
    });
    expect(chooseServers({ iceServers }, ["udp", "tcp", "tls"])).toMatchObject({
      turn: { host: "2001:db8::5", port: 3479, transport: "tcp" },
    });
    expect(chooseServers({ iceServers: [{ ...turn, urls: "turns:x.example" }] }, ["tls"])).toMatchObject({
      turn: { host: "x.example", port: 5349, transport: "tls" },
    });
  });

  test("are none unless given", () => {
    expect(chooseServers({ iceServers: [] }, ["udp"])).toEqual({});
  });

  test.each([
    ["not a URL", { urls: "http://example.org" }],
    ["two servers in one", { urls: "stun:a.example stun:b.example" }],
    ["a port out of range", { urls: "stun:a.example:70000" }],
    ["TURN without credentials", { urls: "turn:a.example" }],
  ])("say what is wrong: %s", (_, server) => {
    expect(typeof chooseServers({ iceServers: [server] }, ["udp"])).toBe("string");
  });

  test("must include a usable relay for a relay-only policy", () => {
    expect(chooseServers({ iceServers: [turn], iceTransportPolicy: "relay" }, ["udp"])).toContain("relay only");
  });
});

test("an ended connection says closed once, after everything before and before everything after", async () => {
  const seen: string[] = [];
  const outlet = new RtcOutlet((event) => seen.push(event.type === "closed" ? event.reason : event.type));
  outlet.emit({ type: "ice-connected" });
  expect(outlet.end("first")).toBe(true);
  expect(outlet.end("second")).toBe(false);
  outlet.emit({ type: "open" });
  expect(seen).toEqual(["ice-connected"]);
  await Promise.resolve();
  outlet.emit({ type: "open" });
  expect(seen).toEqual(["ice-connected", "first"]);
});

test("a stack waits for what its ended connections still hold, and does not close under open ones", async () => {
  const ledger = new RtcLedger();
  const first = ledger.enter();
  await expect(ledger.settled()).rejects.toThrow("closed after its connections");
  const disposal = Promise.withResolvers<void>();
  first(disposal.promise);
  let settled = false;
  const wait = ledger.settled().then(() => {
    settled = true;
  });
  await Promise.resolve();
  expect(settled).toBe(false);
  disposal.resolve();
  await wait;
});

describe("the gate before werift's SCTP", () => {
  const packet = (...chunks: number[][]) => Buffer.from([...Array(12).fill(0), ...chunks.flat()]);
  const data = (stream: number, length = 17) => [0, 3, 0, length, 0, 0, 0, 1, 0, stream, 0, 0, 0, 0, 0, 53, 1, 0, 0, 0];
  const sack = (gaps: [number, number][], declared = gaps.length) => [
    3,
    0,
    0,
    16 + 4 * gaps.length,
    0,
    0,
    0,
    1,
    0,
    1,
    0,
    0,
    0,
    declared,
    0,
    0,
    ...gaps.flatMap(([from, to]) => [from >> 8, from & 255, to >> 8, to & 255]),
  ];

  test("lets ordinary packets through", () => {
    const gate = new SctpGate();
    expect(gate.fault(packet(data(1), sack([[2, 5]]), data(1)))).toBeUndefined();
    expect(gate.fault(packet([11, 0, 0, 4]))).toBeUndefined();
    expect(gate.fault(packet([4, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4]))).toBeUndefined();
  });

  test.each([
    ["is too short", Buffer.alloc(12)],
    ["has a chunk of length zero", packet([3, 0, 0, 0])],
    ["has a chunk longer than itself", packet([0, 3, 1, 0])],
    ["has a chunk of unknown type", packet([77, 0, 0, 4])],
    ["abandons data that nobody may abandon", packet([192, 0, 0, 8, 0, 0, 0, 0])],
    ["has data without data", packet(data(1, 16))],
    ["acknowledges more than was sent", packet(sack([[1, 65_535]]))],
    ["acknowledges more than was sent, in several chunks", packet(sack([[1, 5_000]]), sack([[1, 5_000]]))],
    ["declares gaps that it does not hold", packet(sack([], 9))],
    ["has a parameter of length zero", packet([130, 0, 0, 12, 0, 13, 0, 0, 0, 0, 0, 0])],
    ["has a parameter longer than its chunk", packet([6, 0, 0, 8, 0, 1, 0, 9])],
  ])("stops a packet that %s", (_, bad) => {
    expect(new SctpGate().fault(bad)).toEqual(expect.any(String));
  });

  test("knows one stream, the first", () => {
    const gate = new SctpGate();
    expect(gate.fault(packet(data(7)))).toBeUndefined();
    expect(gate.fault(packet(data(7), data(8)))).toBe("a second data channel");
  });

  test("never throws, whatever the bytes", () => {
    let state = 1;
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.alloc(round % 64, 0);
      for (let index = 0; index < bytes.length; index++) {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        bytes[index] = index % 4 === 2 ? 0 : (state >>> 16) & (index % 4 === 3 ? 31 : 255);
      }
      new SctpGate().fault(bytes);
    }
  });
});
