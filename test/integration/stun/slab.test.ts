import { expect, test } from "vitest";
import { Slab } from "../../../stun/slab.ts";

test("packets of every size are cut side by side, and none is cut again", () => {
  const slab = new Slab();
  const packets = Array.from({ length: 3_000 }, (_, index) => {
    const packet = slab.cut((index * 37) % 6_000);
    packet.fill(index % 251);
    return packet;
  });
  packets.forEach((packet, index) => {
    expect(packet.length).toBe((index * 37) % 6_000);
    expect(packet.every((byte) => byte === index % 251)).toBe(true);
  });
});
