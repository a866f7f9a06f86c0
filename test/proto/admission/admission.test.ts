import { expect, test } from "vitest";
import { concat } from "../../../src/proto/bytes.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import { ADMISSION_LIMIT_MS, Admission } from "../../../src/proto/session/admission.ts";
import { encodeHello, parseHello } from "../../../src/proto/session/hello.ts";
import { admissionMacKey } from "../../../src/proto/session/transcript.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { ANSWERER, CLUSTER_KEY, DIALER, handshake, meet, optionsOf, Side } from "./handshake.ts";

const READY = Uint8Array.of(4);

function greeted(): Side {
  const side = new Side(optionsOf("dialer"));
  side.input({ type: "open" });
  return side;
}

/** A dialer that has the answerer's hello and has sent its proof. */
function proving(): { dialer: Side; answerer: Side } {
  const [dialer, answerer] = [greeted(), new Side(optionsOf("answerer"))];
  answerer.input({ type: "open" });
  dialer.input({ type: "frame", bytes: answerer.sent[0] as Uint8Array });
  return { dialer, answerer };
}

test("two members admit each other and learn what the other's hello and token say", () => {
  const [dialer, answerer] = [new Side(optionsOf("dialer")), new Side(optionsOf("answerer"))];
  meet(dialer, answerer);
  expect(dialer.end).toEqual({
    type: "admitted",
    peer: {
      id: ANSWERER.id,
      token: ANSWERER.facts,
      boxKey: new Uint8Array(32).fill(0x22),
      version: 1,
      epoch: 3,
    },
    session: { id: expect.any(Uint8Array) },
  });
  expect(answerer.end).toMatchObject({ type: "admitted", peer: { id: DIALER.id, token: DIALER.facts } });
  expect([dialer.machine.deadline(), answerer.machine.deadline()]).toEqual([undefined, undefined]);
});

test("each side sends a hello, a proof and a ready, in this order and no more", () => {
  const [dialer, answerer] = [new Side(optionsOf("dialer")), new Side(optionsOf("answerer"))];
  meet(dialer, answerer);
  for (const side of [dialer, answerer]) expect(side.sent.map((frame) => frame[0])).toEqual([1, 2, 4]);
  expect(dialer.sent[1]?.length).toBe(97);
});

test("a side whose signature takes long says ready only after its proof", () => {
  const { dialer, answerer } = proving();
  const slow = new Admission(optionsOf("answerer"));
  slow.handle({ type: "open" }, 0);
  const [asked] = slow.handle({ type: "frame", bytes: dialer.sent[0] as Uint8Array }, 0);
  expect(asked).toMatchObject({ type: "sign", label: "starling/admission/1" });
  const [check] = slow.handle({ type: "frame", bytes: dialer.sent[1] as Uint8Array }, 0);
  expect(check).toMatchObject({ type: "verify", from: DIALER.id, token: DIALER.token });
  expect(slow.handle({ type: "verified", resume: "admission", token: DIALER.facts }, 0)).toEqual([]);
  const sent = slow.handle({ type: "signed", resume: "admission", signature: new Uint8Array(64) }, 0);
  expect(sent.map((output) => output.type === "send" && output.frame[0])).toEqual([2, 4]);
  expect(answerer.sent.length).toBe(1);
});

test("a side is not admitted before the peer is satisfied with its proof", () => {
  const { dialer, answerer } = proving();
  answerer.input({ type: "frame", bytes: dialer.sent[0] as Uint8Array });
  dialer.input({ type: "frame", bytes: answerer.sent[1] as Uint8Array });
  expect([dialer.verdict, dialer.sent.length]).toEqual(["open", 3]);
  dialer.input({ type: "frame", bytes: READY });
  expect(dialer.verdict).toBe("admitted");
});

test("the highest version that both speak is chosen", () => {
  const dialer = new Side(optionsOf("dialer", { versions: { least: 1, most: 4 } }));
  const answerer = new Side(optionsOf("answerer", { versions: { least: 2, most: 7 } }));
  meet(dialer, answerer);
  expect([dialer.end, answerer.end]).toMatchObject([{ peer: { version: 4 } }, { peer: { version: 4 } }]);
});

test("sides without a common version refuse, and each says so", () => {
  const answerer = new Side(optionsOf("answerer", { versions: { least: 5, most: 6 } }));
  const dialer = new Side(optionsOf("dialer"));
  meet(dialer, answerer);
  expect([dialer.verdict, answerer.verdict]).toEqual(["local: version-mismatch", "local: version-mismatch"]);
  expect([dialer.sent.at(-1), answerer.sent.at(-1)]).toEqual([Uint8Array.of(3, 1), Uint8Array.of(3, 1)]);
});

test("a foreign version is told apart from garbage by its first two fields", () => {
  const strange = concat(Uint8Array.of(1), encode([9, 12, "what follows", "is unknown"]));
  expect(parseHello(strange, { least: 1, most: 1 })).toEqual({ ok: false, reason: "version-mismatch" });
  const unordered = concat(Uint8Array.of(1), encode([2, 1]));
  expect(parseHello(unordered, { least: 1, most: 1 })).toEqual({ ok: false, reason: "malformed" });
});

test("extensions that this version does not know are ignored", () => {
  const body = [1, 1, publicKeyOf(ANSWERER.id), new Uint8Array(32), "t", new Uint8Array(32), 3];
  const frame = concat(Uint8Array.of(1), encode([...body, [["resume", new Uint8Array(16), 7], 5]]));
  expect(parseHello(frame, { least: 1, most: 1 })).toMatchObject({ ok: true, hello: { id: ANSWERER.id, epoch: 3 } });
  const over = concat(Uint8Array.of(1), encode([...body, new Array<number>(17).fill(0)]));
  expect(parseHello(over, { least: 1, most: 1 })).toEqual({ ok: false, reason: "malformed" });
});

test("members in different epochs prove themselves by the older key, while both hold and accept it", () => {
  const macKey = (epoch: number): Uint8Array | undefined =>
    epoch === 3 || epoch === 4 ? admissionMacKey(CLUSTER_KEY, epoch) : undefined;
  expect(handshake({ dialer: { macKey, epoch: 4 }, answerer: { macKey } })).toEqual(["admitted", "admitted"]);
});

test("an epoch without a key here is refused, and the peer learns it", () => {
  const macKey = (epoch: number) => (epoch === 4 ? admissionMacKey(CLUSTER_KEY, epoch) : undefined);
  expect(handshake({ dialer: { epoch: 4, macKey } })).toEqual(["local: unknown-epoch", "remote: unknown-epoch"]);
});

test("an adopted connection without an expected peer takes any member", () => {
  const { expected: _, ...open } = optionsOf("answerer");
  const [dialer, answerer] = [new Side(optionsOf("dialer")), new Side(open)];
  meet(dialer, answerer);
  expect(answerer.end).toMatchObject({ type: "admitted", peer: { id: DIALER.id } });
});

test.each(["expired", "not-yet-valid", "wrong-subject", "wrong-issuer", "revoked", "scope"] as const)(
  "a token that is %s is refused, and its bearer learns why",
  (reason) => {
    const [dialer, answerer] = [new Side(optionsOf("dialer")), new Side(optionsOf("answerer"))];
    answerer.bad.set(DIALER.token, reason);
    meet(dialer, answerer);
    expect([dialer.verdict, answerer.verdict]).toEqual([`remote: ${reason}`, `local: ${reason}`]);
  },
);

test("a driver that confuses whose token it checked does not get a stranger in", () => {
  const { dialer, answerer } = proving();
  answerer.input({ type: "frame", bytes: dialer.sent[0] as Uint8Array });
  const machine = new Admission(optionsOf("dialer"));
  machine.handle({ type: "open" }, 0);
  machine.handle({ type: "frame", bytes: answerer.sent[0] as Uint8Array }, 0);
  machine.handle({ type: "signed", resume: "admission", signature: new Uint8Array(64) }, 0);
  machine.handle({ type: "frame", bytes: answerer.sent[1] as Uint8Array }, 0);
  expect(machine.handle({ type: "verified", resume: "admission", token: DIALER.facts }, 0)).toEqual([
    { type: "send", frame: Uint8Array.of(3, 7) },
    { type: "refused", by: "local", reason: "wrong-subject" },
  ]);
});

test("a silent peer is refused after five seconds and not answered", () => {
  const machine = new Admission(optionsOf("dialer"));
  machine.handle({ type: "open" }, 1_000);
  expect(machine.deadline()).toBe(1_000 + ADMISSION_LIMIT_MS);
  expect(machine.handle({ type: "timeout" }, 5_999)).toEqual([]);
  expect(machine.handle({ type: "timeout" }, 6_000)).toEqual([{ type: "refused", by: "local", reason: "timeout" }]);
  expect(machine.deadline()).toBeUndefined();
});

test("the five seconds count from the open channel, not from the last frame", () => {
  const { dialer } = proving();
  dialer.input({ type: "timeout" }, 5_000);
  expect([dialer.verdict, dialer.sent.at(-1)]).toEqual(["local: timeout", Uint8Array.of(3, 4)]);
});

test("who has said ready says nothing more: the peer may have admitted it, and reads frames of the link", () => {
  const dialer = new Side(optionsOf("dialer"));
  const answerer = new Side(optionsOf("answerer"));
  meet(dialer, answerer, (from, frame, index) => (from === "answerer" && index === 2 ? [] : [frame]));
  expect([dialer.verdict, answerer.verdict]).toEqual(["open", "admitted"]);
  const before = dialer.sent.length;
  dialer.input({ type: "timeout" }, 5_000);
  expect([dialer.verdict, dialer.sent.length]).toEqual(["local: timeout", before]);
});

test("a check that comes back after the end changes nothing", () => {
  const { dialer } = proving();
  dialer.input({ type: "timeout" }, 5_000);
  dialer.input({ type: "verified", resume: "admission", token: ANSWERER.facts }, 5_001);
  dialer.input({ type: "rejected", reason: "revoked" }, 5_001);
  dialer.input({ type: "frame", bytes: READY }, 5_001);
  expect(dialer.verdict).toBe("local: timeout");
});

test("a channel that closes ends the handshake without a frame", () => {
  const { dialer } = proving();
  const before = dialer.sent.length;
  dialer.input({ type: "closed" });
  expect([dialer.verdict, dialer.sent.length]).toEqual(["channel: closed", before]);
});

test("a refusal is taken at any time, and an unknown code means unspecified", () => {
  for (const [frame, reason] of [
    [Uint8Array.of(3, 1), "version-mismatch"],
    [Uint8Array.of(3, 0), "unspecified"],
    [Uint8Array.of(3, 250), "unspecified"],
    [Uint8Array.of(3), "unspecified"],
    [Uint8Array.of(3, 1, 1), "unspecified"],
  ] as const) {
    const side = greeted();
    side.input({ type: "frame", bytes: frame });
    expect(side.verdict).toBe(`remote: ${reason}`);
  }
});

test("a hello of the largest token passes the size limit", () => {
  const options = optionsOf("dialer", { token: "x".repeat(4_096) });
  const frame = encodeHello({
    versions: { least: 1, most: 1 },
    id: options.self,
    nonce: new Uint8Array(32),
    token: options.token,
    boxKey: options.boxKey,
    epoch: 4_294_967_295,
  });
  expect(parseHello(frame, { least: 1, most: 1 })).toMatchObject({ ok: true });
});
