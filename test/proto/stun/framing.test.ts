import { describe, expect, test } from "vitest";
import { concat } from "../../../src/proto/bytes.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { Method } from "../../../stun/proto/message.ts";
import { Ports } from "../../../stun/proto/ports.ts";
import { StreamFramer } from "../../../stun/proto/stream-framer.ts";
import { channelData, request } from "./requests.ts";

const MOST = 65_556;

/** What a framer makes of these pieces; undefined where it refuses one. */
function framed(chunks: readonly Uint8Array[], most = MOST): Uint8Array[] | undefined {
  const framer = new StreamFramer();
  const packets: Uint8Array[] = [];
  for (const chunk of chunks) if (!framer.push(chunk, most, (packet) => packets.push(packet.slice()))) return undefined;
  return packets;
}

describe("a stream", () => {
  const packets = [
    request(Method.binding),
    channelData(0x4000, Uint8Array.of(1, 2, 3, 4, 5)),
    request(Method.allocate, (writer) => writer.u32(Attribute.lifetime, 600)),
    channelData(0x4001, new Uint8Array()),
    channelData(0x4fff, new Uint8Array(1_000).fill(9)),
  ];
  const wire = concat(...packets.map((packet) => concat(packet, new Uint8Array((4 - (packet.length & 3)) & 3))));

  test("is cut into its packets without padding, however it comes in pieces", () => {
    expect(framed([wire])).toEqual(packets);
    for (const size of [1, 2, 3, 4, 5, 7, 19, 20, 21, 64, 500]) expect(framed(pieces(wire, size))).toEqual(packets);
  });

  test("ends at what is neither a message nor ChannelData", () => {
    expect(framed([Uint8Array.of(0x80, 0, 0, 0)])).toBe(undefined);
    expect(framed([Uint8Array.of(0xc0), Uint8Array.of(0, 0, 0)])).toBe(undefined);
    expect(framed([Uint8Array.of(0, 1, 0, 3)])).toBe(undefined);
    expect(framed([wire, Uint8Array.of(0xff, 0xff, 0xff, 0xff)])).toBe(undefined);
    // A web request reads as ChannelData of a length that nobody may send before it has an allocation.
    expect(framed([new TextEncoder().encode("GET / HTTP/1.1")], 4_096)).toBe(undefined);
  });

  test("ends at a message longer than it may be, before its bytes have come", () => {
    expect(framed([Uint8Array.of(0, 1, 0x10, 0)], 4_096)).toBe(undefined);
    expect(framed([Uint8Array.of(0, 1), Uint8Array.of(0x10, 0)], 4_096)).toBe(undefined);
    expect(framed([Uint8Array.of(0x40, 0, 0x10, 0)], 4_096)).toBe(undefined);
    expect(framed([Uint8Array.of(0, 1, 0x0f, 0)], 4_096)).toEqual([]);
  });
});

describe("ports", () => {
  test("are all given, each once, and again after they were given back", () => {
    const ports = new Ports(50_000, 50_009, new SeededRandom(1));
    const taken = Array.from({ length: 10 }, () => ports.take("any"));
    expect([...taken].sort()).toEqual(Array.from({ length: 10 }, (_, index) => 50_000 + index));
    expect(ports.take("any")).toBe(undefined);
    ports.give(50_003);
    ports.give(50_003);
    ports.give(1);
    expect(ports.free).toBe(1);
    expect(ports.take("any")).toBe(50_003);
  });

  test("are even when they must be, with the next one free when it is wanted", () => {
    const ports = new Ports(50_001, 50_006, new SeededRandom(1));
    expect([50_002, 50_004]).toContain(ports.take("even-and-next"));
    expect([50_002, 50_004]).toContain(ports.take("even-and-next"));
    expect(ports.take("even-and-next")).toBe(undefined);
    expect(ports.take("even")).toBe(50_006);
    expect(ports.take("even")).toBe(undefined);
    expect(ports.take("any")).toBe(50_001);
    expect(ports.free).toBe(0);
  });

  test("are drawn at random", () => {
    const drawn = (seed: number) => new Ports(49_152, 65_535, new SeededRandom(seed)).take("any");
    expect(new Set([1, 2, 3, 4, 5].map(drawn)).size).toBe(5);
  });
});

function pieces(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.slice(index * size, (index + 1) * size),
  );
}
