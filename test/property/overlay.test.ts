import fc from "fast-check";
import { expect, test } from "vitest";
import { observersOf, observes, wantedLinks } from "../../src/proto/overlay/neighbours.ts";
import { Overlay, type OverlayInput } from "../../src/proto/overlay/overlay.ts";
import { Rings } from "../../src/proto/overlay/rings.ts";
import { compareSeats, RINGS, type RingSeat } from "../../src/proto/overlay/seat.ts";
import { overlayLimits } from "../../src/proto/overlay/timing.ts";
import { type PeerId, peerIdOf } from "../../src/proto/peer-id.ts";
import { SeededRandom } from "../../src/proto/random.ts";

/** Few members at few positions, so that collisions and wrap-around are common. */
const seats: readonly RingSeat[] = Array.from({ length: 24 }, (_, number) => ({
  id: peerIdOf(new Uint8Array(32).fill(number * 7 + 1)),
  positions: Array.from({ length: RINGS }, (_, ring) => (number * (ring * 5 + 3)) % 17),
}));

const changes = fc.array(fc.tuple(fc.nat(seats.length - 1), fc.boolean()), { maxLength: 60 });

test("rings after any changes equal rings sorted from scratch", () => {
  fc.assert(
    fc.property(changes, (list) => {
      const rings = new Rings();
      const model = new Map<PeerId, RingSeat>();
      for (const [number, comes] of list) {
        const seat = seats[number] as RingSeat;
        if (comes) {
          rings.insert(seat);
          model.set(seat.id, seat);
        } else {
          rings.remove(seat.id);
          model.delete(seat.id);
        }
      }
      expect(rings.size).toBe(model.size);
      for (let ring = 0; ring < RINGS; ring++) {
        const sorted = [...model.values()].sort((a, b) => compareSeats(ring, a, b));
        sorted.forEach((seat, index) => {
          for (let steps = 1; steps < sorted.length; steps++) {
            expect(rings.step(ring, seat, steps)).toBe(sorted[(index + steps) % sorted.length]?.id);
            expect(rings.step(ring, seat, -steps)).toBe(sorted[(index - steps + sorted.length) % sorted.length]?.id);
          }
        });
      }
    }),
    { numRuns: 60 },
  );
});

test("links and observers are symmetric, and each link's peer is an observer or the cluster is small", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(seats.length - 1), { minLength: 2 }), (numbers) => {
      const rings = new Rings();
      const present = numbers.map((number) => seats[number] as RingSeat);
      for (const seat of present) rings.insert(seat);
      for (const one of present) {
        const links = wantedLinks(rings, one);
        const observers = observersOf(rings, one);
        for (const other of present) {
          if (one === other) continue;
          expect(wantedLinks(rings, other).has(one.id)).toBe(links.has(other.id));
          expect(observersOf(rings, other).has(one.id)).toBe(observers.has(other.id));
          expect(observes(rings, other, one)).toBe(observers.has(other.id));
        }
      }
    }),
    { numRuns: 60 },
  );
});

const input: fc.Arbitrary<{ readonly type: OverlayInput["type"]; readonly who: number; readonly after: number }> =
  fc.record({
    type: fc.constantFrom(
      "member-up",
      "member-gone",
      "link-up",
      "link-down",
      "dial-failed",
      "dial-refused",
      "asked",
      "try",
      "timeout",
    ),
    who: fc.nat(seats.length - 1),
    after: fc.constantFrom(0, 10, 300, 2_000, 30_000, 400_000),
  });

test("whatever happens, the overlay dials nobody twice or itself, and drops no neighbour that is there", () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 120 }), (inputs) => {
      const self = seats[7] as RingSeat;
      const rings = new Rings();
      rings.insert(self);
      const overlay = new Overlay(self, rings, new SeededRandom(1));
      const dialing = new Set<PeerId>();
      const linked = new Set<PeerId>();
      let now = 1_700_000_000_000;
      const apply = (one: OverlayInput): void => {
        for (const output of overlay.handle(one, now)) {
          expect(output.peer).not.toBe(self.id);
          expect(linked.has(output.peer)).toBe(output.type === "drop");
          if (output.type === "drop") expect(overlay.wanted.has(output.peer)).toBe(false);
          if (output.type === "dial") {
            expect(dialing.has(output.peer)).toBe(false);
            dialing.add(output.peer);
          }
        }
      };
      for (const { type, who, after } of inputs) {
        // A driver reports every dial within its patience.
        now += Math.min(after, overlayLimits.dialPatienceMs - 1);
        const seat = seats[who] as RingSeat;
        if (seat === self) continue;
        const peer = seat.id;
        if (type === "member-up") rings.insert(seat);
        if (type === "member-gone") rings.remove(peer);
        if (type === "link-up") linked.add(peer);
        if (type === "link-down") linked.delete(peer);
        if (type === "link-up" || type === "dial-failed" || type === "dial-refused") dialing.delete(peer);
        if (type === "timeout") {
          for (const waiting of [...dialing]) {
            dialing.delete(waiting);
            apply({ type: "dial-failed", peer: waiting, reason: "absent" });
          }
          apply({ type });
        } else if (type === "dial-failed") apply({ type, peer, reason: who % 2 === 0 ? "no-path" : "absent" });
        else apply({ type, peer });
        const deadline = overlay.deadline();
        expect(deadline === undefined || Number.isFinite(deadline)).toBe(true);
      }
      for (const wanted of overlay.wanted) expect(overlay.unconnectable.has(wanted)).toBe(false);
    }),
    { numRuns: 150 },
  );
});
