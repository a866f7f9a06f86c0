import { describe, expect, test } from "vitest";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { AdmissionOptions } from "../../../src/proto/session/admission.ts";
import { encodeHello, LINK_VERSIONS, parseHello } from "../../../src/proto/session/hello.ts";
import { encodeReady, type HeldSession, type Progress, parseReady } from "../../../src/proto/session/resumption.ts";
import { admissionMacKey } from "../../../src/proto/session/transcript.ts";
import { ANSWERER, DIALER, handshake, identity, meet, optionsOf, Side } from "./handshake.ts";

const BOX = { dialer: new Uint8Array(32).fill(0x11), answerer: new Uint8Array(32).fill(0x22) };
const ID = new Uint8Array(16).fill(5);

/** The session that `role` holds with the other. */
function held(role: "dialer" | "answerer", change: Partial<HeldSession> = {}): HeldSession {
  const boxKey = role === "dialer" ? BOX.answerer : BOX.dialer;
  return { id: ID, boxKey, progress: () => ({ received: role === "dialer" ? 70 : 9, cut: false }), ...change };
}

/** Both ends after a handshake in which they hold these sessions. */
function met(dialer: Partial<AdmissionOptions>, answerer: Partial<AdmissionOptions>): readonly [Side, Side] {
  const sides = [new Side(optionsOf("dialer", dialer)), new Side(optionsOf("answerer", answerer))] as const;
  meet(...sides);
  return sides;
}

function sessionOf(side: Side) {
  if (side.end?.type !== "admitted") throw new Error(side.verdict);
  return side.end.session;
}

describe("a session", () => {
  test("that begins has one id at both ends, and another each time", () => {
    const [dialer, answerer] = met({}, {});
    expect(sessionOf(dialer)).toEqual({ id: sessionOf(answerer).id });
    expect(sessionOf(dialer).id.length).toBe(16);
    const [again] = met({ random: new SeededRandom(101) }, {});
    expect(sessionOf(again).id).not.toEqual(sessionOf(dialer).id);
  });

  test("that both hold goes on, and each learns how much the other has", () => {
    const [dialer, answerer] = met({ session: held("dialer") }, { session: held("answerer") });
    expect(sessionOf(dialer)).toEqual({ id: ID, resumed: { received: 9, cut: false } });
    expect(sessionOf(answerer)).toEqual({ id: ID, resumed: { received: 70, cut: false } });
  });

  test("is cut for both when it is cut for one", () => {
    const cut = () => ({ received: 2 ** 40, cut: true });
    const [dialer, answerer] = met({ session: held("dialer", { progress: cut }) }, { session: held("answerer") });
    expect(sessionOf(dialer).resumed).toEqual({ received: 9, cut: true });
    expect(sessionOf(answerer).resumed).toEqual({ received: 2 ** 40, cut: true });
  });

  test("begins anew when only one side holds one, or they hold different ones", () => {
    const other = { id: new Uint8Array(16).fill(6) };
    for (const [ours, theirs] of [
      [{ session: held("dialer") }, {}],
      [{}, { session: held("answerer") }],
      [{ session: held("dialer", other) }, { session: held("answerer") }],
    ] as const) {
      const [dialer, answerer] = met(ours, theirs);
      expect(sessionOf(dialer).resumed).toBeUndefined();
      expect(sessionOf(dialer)).toEqual({ id: sessionOf(answerer).id });
      expect(sessionOf(dialer).id).not.toEqual(ID);
    }
  });

  test("that has ended since our hello refuses the channel, so that the next one begins anew", () => {
    let asked = 0;
    const gone = (): Progress | undefined => (asked++ === 0 ? undefined : { received: 0, cut: false });
    const [dialer, answerer] = met({ session: held("dialer", { progress: gone }) }, { session: held("answerer") });
    expect([dialer.verdict, answerer.verdict]).toEqual(["local: closed", "remote: unspecified"]);
  });
});

describe("resuming a session gains nothing", () => {
  test("for another start of the peer's process, with the same identity and the session's id", () => {
    const anew = { session: held("answerer"), boxKey: new Uint8Array(32).fill(0x33) };
    const [dialer, answerer] = met({ session: held("dialer") }, anew);
    // The impostor holds on to the session, but the victim begins another: it takes no count from a ready of the wrong form.
    expect(dialer.verdict).toBe("local: malformed");
    expect(answerer.end?.type).toBe("refused");
  });

  test("for a member that states the session of somebody else", () => {
    const mallory = identity(66);
    const dialer = new Side(optionsOf("dialer", { session: held("dialer") }));
    const stranger = new Side(
      optionsOf("answerer", { self: mallory.id, token: mallory.token, session: held("answerer") }),
      mallory,
    );
    dialer.known.set(mallory.token, mallory.facts);
    meet(dialer, stranger);
    expect([dialer.verdict, stranger.verdict]).toEqual(["local: unexpected-peer", "remote: unspecified"]);
  });

  test("without the cluster key", () => {
    const foreign = (epoch: number) => admissionMacKey(new Uint8Array(32).fill(8), epoch);
    const verdicts = handshake({
      dialer: { session: held("dialer") },
      answerer: { session: held("answerer"), macKey: foreign },
    });
    expect(verdicts).toEqual(["local: bad-mac", "local: bad-mac"]);
  });

  test("by what was recorded of an earlier resumption", () => {
    const [, answerer] = met({ session: held("dialer") }, { session: held("answerer") });
    const later = new Side(optionsOf("dialer", { session: held("dialer"), random: new SeededRandom(7) }));
    later.input({ type: "open" });
    for (const bytes of answerer.sent) later.input({ type: "frame", bytes });
    expect(later.verdict).toBe("local: bad-mac");
  });

  test("on certificates other than those of this very channel", () => {
    const his = new Uint8Array(32).fill(0x66);
    const verdicts = handshake({
      dialer: { session: held("dialer"), remoteFingerprint: his },
      answerer: { session: held("answerer"), remoteFingerprint: his },
    });
    expect(verdicts).toEqual(["local: bad-mac", "local: bad-mac"]);
  });

  test("by a hello whose session was changed or taken out on the way", () => {
    for (const session of [undefined, new Uint8Array(16).fill(6)]) {
      const verdicts = handshake(
        { dialer: { session: held("dialer") }, answerer: { session: held("answerer") } },
        (from, frame, index) => {
          const parsed = from === "dialer" && index === 0 ? parseHello(frame, LINK_VERSIONS) : undefined;
          return [parsed?.ok ? encodeHello({ ...parsed.hello, session }) : frame];
        },
      );
      expect(verdicts).toEqual(["local: bad-mac", "local: bad-mac"]);
    }
  });

  test.each([
    ["shorter", (frame: Uint8Array) => frame.subarray(0, 1)],
    ["longer", (frame: Uint8Array) => Uint8Array.of(...frame, 0)],
    ["of no known sense", (frame: Uint8Array) => Uint8Array.of(frame[0] as number, 2, ...frame.subarray(2))],
  ])("by a ready that is %s than it should be", (_, change) => {
    const [dialer] = handshake(
      { dialer: { session: held("dialer") }, answerer: { session: held("answerer") } },
      (from, frame, index) => [from === "answerer" && index === 2 ? change(frame) : frame],
    );
    expect(dialer).toBe("local: malformed");
  });
});

test("a ready carries any count that a session can come to", () => {
  for (const received of [0, 1, 255, 256, 2 ** 32, 2 ** 48 - 1])
    for (const cut of [false, true])
      expect(parseReady(encodeReady({ received, cut }), true)).toEqual({ received, cut });
});

test("a hello with extensions that nobody knows, or a session in another form, offers none", () => {
  const hello = {
    versions: LINK_VERSIONS,
    id: DIALER.id,
    nonce: new Uint8Array(32),
    token: ANSWERER.token,
    boxKey: BOX.dialer,
    epoch: 3,
  };
  const parsed = parseHello(encodeHello({ ...hello, session: new Uint8Array(15) }), LINK_VERSIONS);
  expect(parsed.ok && parsed.hello.session).toBeUndefined();
});
