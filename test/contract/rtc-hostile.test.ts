import { createSocket } from "node:dgram";
import { afterAll, describe, expect, test } from "vitest";
import { nativeStack } from "../../src/drivers/rtc.native.ts";
import { weriftStack } from "../../src/drivers/rtc.werift.ts";
import { makeKeys } from "../../src/drivers/rtc-werift-config.ts";
import type { RtcStack } from "../../src/rtc.ts";
import { type Attacker, attackerOn, begin } from "./rtc-attacker.ts";
import { closePair, type End, openPair } from "./rtc-pair.ts";

/** Peers and bystanders that do not play by the rules, against both stacks. An unhandled rejection fails the run. */

const ROLES = ["initiator", "answerer"] as const;
const STACKS: readonly (readonly [string, RtcStack])[] = [
  ["werift", weriftStack()],
  ["native", await nativeStack()],
];

afterAll(async () => {
  for (const [, stack] of STACKS) await stack.close();
});

for (const [name, stack] of STACKS) {
  for (const role of ROLES) {
    const victim = role === "initiator" ? "answerer" : "initiator";

    test(`${name}, ${victim}: a certificate without its key never opens, though its fingerprint fits`, async () => {
      const [stolen, own] = await Promise.all([makeKeys(), makeKeys()]);
      // What a man in the middle has: the certificate, which travels in the clear, and a key of its own.
      const attacker = await attackerOn(stack, role, { ...stolen, keyPem: own.keyPem });
      await begin(attacker, role);
      await attacker.victim.closed();
      expect(attacker.victim.count("open")).toBe(0);
      expect(attacker.victim.count("dtls-connected")).toBe(0);
      expect(attacker.victim.connection.remoteFingerprint()).toBeUndefined();
      if (name === "werift") expect(attacker.victim.reason).toContain("does not hold the key");
      await attacker.close();
    });

    test(`${name}, ${victim}: a peer that saw another handshake never opens`, async () => {
      const attacker = await attackerOn(stack, role);
      attacker.onDtls = (socket) => {
        socket.cipher.verifyData = () => Buffer.alloc(12);
      };
      await begin(attacker, role);
      await attacker.victim.closed();
      expect(attacker.victim.count("open")).toBe(0);
      if (name === "werift") expect(attacker.victim.reason).toContain("different DTLS handshakes");
      await attacker.close();
    });

    describe(`${name}, ${victim}`, () => {
      test("takes a frame above the limit for the end", async () => {
        const attacker = await attackLink(stack, role);
        const { sctp } = attacker;
        sctp.remoteMaxMessageSize = 0;
        void sctp.sctp.send(streamOf(attacker), 53, Buffer.alloc(100_000));
        void sctp.sctp.send(streamOf(attacker), 53, Buffer.alloc(1));
        await attacker.victim.closed();
        expect(attacker.victim.frames).toEqual([]);
        await attacker.close();
      });

      test("takes a text message for the end", async () => {
        await endsOn(stack, role, async ({ sctp }, stream) => void sctp.sctp.send(stream, 51, Buffer.from("hello")));
      });

      test("takes a second channel for the end", async () => {
        await endsOn(stack, role, async ({ peer, sctp }) => {
          peer.createDataChannel("another", { id: sctp.dtlsTransport.role === "client" ? 6 : 7 });
        });
      });
    });
  }
}

for (const role of ROLES) {
  describe(`werift, attacked by the ${role}`, () => {
    const stack = STACKS[0]?.[1] as RtcStack;

    test("ends on a payload type that nobody uses", async () => {
      const reason = await endsOn(
        stack,
        role,
        async ({ sctp }, stream) => void sctp.sctp.send(stream, 999, Buffer.from("x")),
      );
      expect(reason).toContain("payload type 999");
    });

    test("ends on a packet whose chunk has no length, and does not hang", async () => {
      const reason = await endsOn(stack, role, async ({ sctp }) => {
        await sctp.dtlsTransport.sendData(Buffer.from([...Array(12).fill(0), 3, 0, 0, 0]));
      });
      expect(reason).toContain("impossible length");
    });

    test("ends on a packet with a wrong checksum, without an unhandled rejection", async () => {
      const reason = await endsOn(stack, role, async ({ sctp }) => {
        await sctp.dtlsTransport.sendData(Buffer.from([...Array(12).fill(0), 11, 0, 0, 4]));
      });
      expect(reason).toContain("checksum");
    });

    test("ends on a message without end, within its bound of memory", async () => {
      const reason = await endsOn(stack, role, async ({ sctp }, stream) => {
        const { sctp: association } = sctp;
        // First fragments only, far more than any window: each lacks the last one.
        for (let burst = 0; burst < 100; burst++) {
          for (let index = 0; index < 100; index++) {
            const chunk = association["localTsn"];
            association["localTsn"] = (chunk + 1) % 2 ** 32;
            const data = Buffer.alloc(17);
            data.writeUInt8(burst + index === 0 ? 2 : 0, 1);
            data.writeUInt16BE(17, 2);
            data.writeUInt32BE(chunk, 4);
            data.writeUInt16BE(stream, 8);
            data.writeUInt32BE(53, 12);
            await sctp.sctp.sendChunk({ type: 0, flags: data[1], body: undefined, bytes: pad(data) } as never);
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
      expect(reason).toMatch(/without end|out of order/);
    });
  });
}

test("a bystander who sends DTLS records to an open werift link changes nothing", async () => {
  const stack = STACKS[0]?.[1] as RtcStack;
  const pair = await openPair(stack, stack);
  const bystander = createSocket("udp4");
  for (const end of [pair.initiator, pair.answerer]) {
    const port = Number(end.connection.selectedPair()?.local.address.split(":").at(-1));
    for (const record of BYSTANDER_RECORDS) {
      await new Promise((sent) => bystander.send(record, port, "127.0.0.1", sent));
    }
  }
  bystander.close();
  // Sent after the records, on the same sockets.
  for (const [from, to] of [
    [pair.initiator, pair.answerer],
    [pair.answerer, pair.initiator],
  ] as const) {
    from.connection.send(Uint8Array.of(1));
    await received(to);
  }
  expect([pair.initiator.reason, pair.answerer.reason]).toEqual([undefined, undefined]);
  await closePair(pair);
});

function received(end: End): Promise<void> {
  return end.received(1);
}

/** One DTLS record (RFC 6347, section 4.1). */
function record(type: number, epoch: number, fragment: readonly number[]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt8(type, 0);
  header.writeUInt16BE(0xfefd, 1);
  header.writeUInt16BE(epoch, 3);
  header.writeUInt16BE(fragment.length, 11);
  return Buffer.concat([header, Buffer.from(fragment)]);
}

/** A ClientHello without cookie, version and random only. */
const HELLO = [1, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 42, 0xfe, 0xfd, ...Array(40).fill(0)];

const BYSTANDER_RECORDS: readonly Buffer[] = [
  record(22, 0, HELLO),
  record(21, 0, [1, 0]),
  record(21, 0, [2, 40]),
  record(21, 1, [1, 0]),
  record(21, 1, [1, 0, ...Array(24).fill(7)]),
  record(23, 1, Array(40).fill(9)),
  record(25, 0, [0]),
  record(25, 1, [0]),
  record(20, 0, [1]),
  Buffer.from([22, 0xfe]),
];

function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
}

/** A link that is open, to a peer that has not shown its face yet. */
async function attackLink(stack: RtcStack, role: "initiator" | "answerer"): Promise<Attacker> {
  const attacker = await attackerOn(stack, role);
  await begin(attacker, role);
  await attacker.victim.opened();
  const isOpen = () => Object.values(attacker.sctp.dataChannels).some(({ readyState }) => readyState === "open");
  while (!isOpen()) await new Promise((resolve) => setImmediate(resolve));
  return attacker;
}

function streamOf({ sctp }: Attacker): number {
  return Number(Object.keys(sctp.dataChannels)[0]);
}

/** Opens a link to an attacker, lets it act, and gives the reason for which the victim ended. */
async function endsOn(
  stack: RtcStack,
  role: "initiator" | "answerer",
  act: (attacker: Attacker, stream: number) => Promise<void>,
): Promise<string> {
  const attacker = await attackLink(stack, role);
  await act(attacker, streamOf(attacker));
  await attacker.victim.closed();
  expect(attacker.victim.frames).toEqual([]);
  await attacker.close();
  return attacker.victim.reason ?? "";
}
