import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AssertionFailure } from "../../src/proto/assert.ts";
import { parseSdp } from "../../src/proto/negotiation/sdp.ts";
import type { RtcStack } from "../../src/rtc.ts";
import { closePair, End, LOOPBACK, openPair, pairOf } from "./rtc-pair.ts";

/** What every stack promises, alone and towards every other. */

export interface Stacks {
  readonly initiator: RtcStack;
  readonly answerer: RtcStack;
}

/** A frame of `length` bytes that no other has: its number in front, the rest derived from it. */
function frameOf(index: number, length: number): Uint8Array {
  const frame = new Uint8Array(length).fill(index * 31 + 7);
  new DataView(frame.buffer).setUint32(0, index);
  return frame;
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getUint32(0);
}

const SHAPE = ["description", "candidate", "ice-connected", "dtls-connected", "open", "drained", "closed"];

/** Runs the suite. `makeStacks` is called once; equal stacks may be one. */
export function rtcContract(name: string, makeStacks: () => Promise<Stacks>): void {
  describe(`rtc contract: ${name}`, () => {
    let stacks: Stacks;
    beforeAll(async () => {
      stacks = await makeStacks();
    });
    afterAll(async () => {
      await stacks.initiator.close();
      await stacks.answerer.close();
    });
    const open = () => openPair(stacks.initiator, stacks.answerer);

    test("opens on loopback and says so in order, once", async () => {
      const pair = await open();
      for (const { events } of [pair.initiator, pair.answerer]) {
        const types = events.map((event) => event.type);
        for (const once of ["description", "ice-connected", "open"]) {
          expect(types.filter((type) => type === once)).toEqual([once]);
        }
        const order = types.filter((type, index) => type !== "drained" && types.indexOf(type) === index);
        expect(order).toEqual(SHAPE.filter((type) => order.includes(type as (typeof order)[number])));
      }
      await closePair(pair);
    });

    test("says which certificate was presented, and it is the one of the description", async () => {
      const pair = await open();
      for (const [end, other] of [
        [pair.initiator, pair.answerer],
        [pair.answerer, pair.initiator],
      ] as const) {
        const parsed = parseSdp(other.sdp);
        expect(parsed.ok).toBe(true);
        if (parsed.ok) expect(end.connection.remoteFingerprint()).toEqual(parsed.fingerprint);
      }
      await closePair(pair);
      expect(pair.initiator.connection.remoteFingerprint()).toBeUndefined();
    });

    // Not always the same path: werift nominates every pair that works, and each end keeps to its own choice.
    test("says which path was chosen", async () => {
      const pair = await open();
      for (const { connection } of [pair.initiator, pair.answerer]) {
        const chosen = connection.selectedPair();
        // A check may show an address before the signal that names it, and of a machine with several another one than its own.
        for (const side of [chosen?.local, chosen?.remote]) expect(side?.kind).toMatch(/^(host|prflx)$/);
        for (const { address } of [chosen?.local, chosen?.remote].filter((side) => side !== undefined)) {
          expect(address).toMatch(/^(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):\d+$/);
        }
      }
      await closePair(pair);
      expect(pair.initiator.connection.selectedPair()).toBeUndefined();
    });

    test("carries frames of 1 byte to 64 KiB both ways, unchanged", async () => {
      const pair = await open();
      const sizes = [1, 4, 1_169, 1_170, 16_384, 65_536, 1];
      const sent = sizes.map((size, index) => new Uint8Array(size).fill(index + 1));
      for (const [from, to] of [
        [pair.initiator, pair.answerer],
        [pair.answerer, pair.initiator],
      ] as const) {
        for (const frame of sent) expect(from.connection.send(frame.slice())).toBe(true);
        await to.received(sent.length);
        expect(to.frames.map((frame) => Buffer.from(frame))).toEqual(sent.map((frame) => Buffer.from(frame)));
      }
      await closePair(pair);
    });

    test("keeps the order of a burst of 5,000 frames each way", async () => {
      const pair = await open();
      const total = 5_000;
      for (let index = 0; index < total; index++) {
        pair.initiator.connection.send(frameOf(index, 100));
        pair.answerer.connection.send(frameOf(index, 100));
      }
      await Promise.all([pair.initiator.received(total), pair.answerer.received(total)]);
      const expected = Array.from({ length: total }, (_, index) => index);
      expect(pair.initiator.frames.map(numberOf)).toEqual(expected);
      expect(pair.answerer.frames.map(numberOf)).toEqual(expected);
      await closePair(pair);
    });

    test("sends a view into a larger buffer as that view only", async () => {
      const pair = await open();
      const whole = Uint8Array.from({ length: 100 }, (_, index) => index);
      pair.initiator.connection.send(whole.subarray(10, 20));
      await pair.answerer.received(1);
      expect([...(pair.answerer.frames[0] ?? [])]).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
      await closePair(pair);
    });

    test("refuses an empty frame and one above the limit as misuse", async () => {
      const pair = await open();
      for (const { connection } of [pair.initiator, pair.answerer]) {
        expect(() => connection.send(new Uint8Array(0))).toThrow(AssertionFailure);
        expect(() => connection.send(new Uint8Array(stacks.initiator.maxFrameBytes + 1))).toThrow(AssertionFailure);
      }
      pair.initiator.connection.send(Uint8Array.of(9));
      await pair.answerer.received(1);
      await closePair(pair);
    });

    test("says drained when what was queued has gone down to the low water mark", async () => {
      const pair = await open();
      const { connection } = pair.initiator;
      connection.lowWaterMark = 65_536;
      expect(connection.lowWaterMark).toBe(65_536);
      const before = pair.initiator.count("drained");
      // More than the send buffer of any stack, so that some of it must queue.
      for (let index = 0; index < 64; index++) connection.send(frameOf(index, 65_536));
      expect(connection.bufferedAmount).toBeGreaterThan(65_536);
      await pair.initiator.until("drained", () => pair.initiator.count("drained") > before);
      expect(connection.bufferedAmount).toBeLessThanOrEqual(65_536);
      await pair.answerer.received(64);
      await closePair(pair);
    });

    test("tells the other end of a close at once, both ways", async () => {
      for (const closer of ["initiator", "answerer"] as const) {
        const pair = await open();
        const other = pair[closer === "initiator" ? "answerer" : "initiator"];
        const since = performance.now();
        pair[closer].connection.close();
        await Promise.all([pair[closer].closed(), other.closed()]);
        expect(performance.now() - since).toBeLessThan(2_000);
        expect(other.connection.send(Uint8Array.of(1))).toBe(false);
      }
    });

    test("says closed once, and nothing after it, while frames are under way", async () => {
      const pair = await open();
      for (let index = 0; index < 500; index++) pair.initiator.connection.send(frameOf(index, 1_000));
      for (let index = 0; index < 500; index++) pair.answerer.connection.send(frameOf(index, 1_000));
      await pair.answerer.received(10);
      pair.answerer.connection.close();
      pair.answerer.connection.close();
      expect(pair.answerer.connection.send(Uint8Array.of(1))).toBe(false);
      await Promise.all([pair.answerer.closed(), pair.initiator.closed()]);
      const frames = pair.answerer.frames.length;
      const next = await open();
      await closePair(next);
      for (const end of [pair.initiator, pair.answerer]) {
        expect(end.count("closed")).toBe(1);
        expect(end.events.at(-1)?.type).toBe("closed");
      }
      expect(pair.answerer.frames.length).toBe(frames);
      expect(pair.answerer.connection.bufferedAmount).toBe(0);
    });

    test("delivers closed after close has returned, never inside it", () => {
      const end = new End(stacks.initiator, { ...LOOPBACK, initiator: true });
      end.connection.close();
      expect(end.events).toEqual([]);
      return end.closed();
    });

    test("can be closed at every step of the way", async () => {
      const steps = ["new", "offer", "description", "candidate", "ice-connected", "dtls-connected", "open"] as const;
      for (const step of steps) {
        for (const closer of ["initiator", "answerer"] as const) {
          const pair = pairOf(stacks.initiator, stacks.answerer);
          const end = pair[closer];
          const carry = end.onEvent;
          end.onEvent = (event) => {
            carry?.(event);
            if (event.type === step) end.connection.close();
          };
          if (step === "new") end.connection.close();
          pair.initiator.connection.offer();
          if (step === "offer") end.connection.close();
          // Not every stack says each of these; it then opens.
          await end.until(step, () => end.reason !== undefined || end.count("open") > 0);
          await closePair(pair);
          expect(end.count("closed")).toBe(1);
        }
      }
    });

    test("never opens when the answer names another certificate", async () => {
      await neverOpens("answer", "initiator");
    });

    test("never opens when the offer names another certificate", async () => {
      await neverOpens("offer", "answerer");
    });

    async function neverOpens(kind: "offer" | "answer", victim: "initiator" | "answerer"): Promise<void> {
      const pair = pairOf(stacks.initiator, stacks.answerer, {
        tamper: (event) => {
          if (event.type !== "description" || event.kind !== kind) return event;
          // Another byte than the one that is there, whichever that is.
          const other = (_: string, head: string, byte: string) => `${head}${byte === "0F" ? "F0" : "0F"}`;
          return { ...event, sdp: event.sdp.replace(/(a=fingerprint:sha-256 )(..)/, other) };
        },
      });
      pair.initiator.connection.offer();
      await pair[victim].closed();
      expect(pair[victim].count("open")).toBe(0);
      expect(pair[victim].frames).toEqual([]);
      await closePair(pair);
    }

    test("closes, without throwing, on a description that it cannot use", async () => {
      const honest = pairOf(stacks.initiator, stacks.answerer);
      honest.initiator.connection.offer();
      await honest.answerer.opened();
      const { sdp } = honest.initiator;
      await closePair(honest);
      const fingerprint = /a=fingerprint:.*\r?\n/.exec(sdp)?.[0] ?? "";
      for (const bad of [
        "",
        "v=0",
        "\0\xff",
        "x".repeat(100_000),
        sdp.replace(fingerprint, ""),
        sdp.replace(
          fingerprint,
          fingerprint + fingerprint.replace(/..(\r?\n)/, /00\r?\n/.test(fingerprint) ? "01$1" : "00$1"),
        ),
        sdp.replace(/m=application.*\r?\n/, "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"),
        sdp.replace(/a=ice-ufrag.*\r?\n/, "").replace(/a=ice-pwd.*\r?\n/, ""),
        sdp.slice(0, sdp.indexOf("m=application")),
      ]) {
        const answerer = new End(stacks.answerer, { ...LOOPBACK, initiator: false });
        answerer.connection.answer(bad);
        const initiator = new End(stacks.initiator, { ...LOOPBACK, initiator: true });
        initiator.onEvent = (event) => {
          if (event.type === "description") initiator.connection.accept(bad);
        };
        initiator.connection.offer();
        // A description without credentials may only be found out by the lack of a connection.
        await Promise.all(
          [answerer, initiator].map((end) =>
            /ice-ufrag/.test(bad) || !bad.includes("m=app") ? end.closed() : undefined,
          ),
        );
        answerer.connection.close();
        initiator.connection.close();
        await Promise.all([answerer.closed(), initiator.closed()]);
        expect(answerer.count("open") + initiator.count("open")).toBe(0);
      }
    });

    test("ignores candidates that it cannot use, early and late", async () => {
      const bad = [
        "",
        "candidate:",
        "candidate:1 1 UDP 1 300.1.1.1 9 typ host",
        "candidate:1 1 UDP 1 127.0.0.1 99999 typ host",
        "candidate:1 1 UDP 1 somewhere.invalid 9 typ host",
        "candidate:1 1 UDP 1 3f1c.local 9 typ host",
        "candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\na=candidate:2 1 UDP 1 127.0.0.1 9 typ host",
        `candidate:${"x".repeat(5_000)}`,
        "candidate:1 1 UDP 1 :: 9 typ host",
        "candidate:1 1 UDP 99999999999999999999 127.0.0.1 9 typ host",
      ];
      const pair = pairOf(stacks.initiator, stacks.answerer);
      for (const end of [pair.initiator, pair.answerer]) for (const line of bad) end.connection.candidate(line, "0");
      pair.initiator.connection.offer();
      await Promise.all([pair.initiator.opened(), pair.answerer.opened()]);
      for (const end of [pair.initiator, pair.answerer]) {
        for (const line of bad) end.connection.candidate(line, "0");
        for (let index = 0; index < 1_000; index++)
          end.connection.candidate("candidate:1 1 UDP 1 127.0.0.1 9 typ host", "7");
      }
      pair.initiator.connection.send(Uint8Array.of(5));
      await pair.answerer.received(1);
      await closePair(pair);
      for (const line of bad) pair.initiator.connection.candidate(line, "0");
    });

    test("has no relay-only connection without a relay", async () => {
      for (const initiator of [true, false]) {
        const options = { ...LOOPBACK, initiator, iceTransportPolicy: "relay" } as const;
        const end = new End(initiator ? stacks.initiator : stacks.answerer, options);
        if (initiator) end.connection.offer();
        else end.connection.answer((await offerOf(stacks.initiator)).sdp);
        await end.closed();
        expect(end.reason).toContain("relay only");
        expect(end.count("candidate")).toBe(0);
      }
    });

    test("leaves no handles after 20 connections", async () => {
      const before = process.getActiveResourcesInfo().filter((kind) => kind === "UDPWrap").length;
      for (let round = 0; round < 20; round++) await closePair(await open());
      await stacks.initiator.close();
      await stacks.answerer.close();
      // A closed socket leaves the list in the next turn of the event loop.
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      expect(process.getActiveResourcesInfo().filter((kind) => kind === "UDPWrap").length).toBeLessThanOrEqual(before);
    });

    test("an exception of the listener is the application's, and leaves the connection alone", async () => {
      const pair = await open();
      const seen: unknown[] = [];
      const listeners = process.listeners("uncaughtException");
      process.removeAllListeners("uncaughtException");
      process.once("uncaughtException", (error) => seen.push(error));
      const bug = new Error("a bug in the listener");
      pair.answerer.onEvent = (event) => {
        if (event.type === "frame" && event.bytes[0] === 66) throw bug;
      };
      pair.initiator.connection.send(Uint8Array.of(66));
      pair.initiator.connection.send(Uint8Array.of(67));
      await pair.answerer.received(2);
      await new Promise((resolve) => setImmediate(resolve));
      for (const listener of listeners) process.on("uncaughtException", listener);
      expect(seen).toEqual([bug]);
      await closePair(pair);
    });
  });
}

/** An offer that nobody answers. */
async function offerOf(stack: RtcStack): Promise<{ readonly sdp: string }> {
  const end = new End(stack, { ...LOOPBACK, initiator: true });
  end.connection.offer();
  await end.until("description", () => end.sdp !== "");
  end.connection.close();
  await end.closed();
  return { sdp: end.sdp };
}
