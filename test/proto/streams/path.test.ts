import { describe, expect, test } from "vitest";
import { SeededRandom } from "../../../src/proto/random.ts";
import { bulk, quantile } from "./load.ts";
import { Path } from "./path.ts";

/**
 * Goal: a link keeps its path full and still lets a probe through. Method: real links over a modelled path with a stack
 * that takes 1 MiB without a word; one bulk stream that always has something to send, and a probe every 20 ms, in
 * virtual time.
 */
const MBIT = 125;

describe("a link under bulk", () => {
  const paths = [10, 100, 1_000].flatMap((mbit) => [0.2, 10, 100].map((rttMs) => [mbit, rttMs] as const));

  test.each(paths)("fills %d Mbit/s at %d ms and delays no probe in a hundred by 50 ms", (mbit, rttMs) => {
    const path = new Path({ bytesPerMs: mbit * MBIT, rttMs });
    const load = bulk(path);
    path.run(2_000);
    const before = load.received;
    const measuredMs = mbit === 1_000 ? 2_000 : 15_000;
    path.run(measuredMs);
    expect((load.received - before) / (measuredMs * mbit * MBIT)).toBeGreaterThanOrEqual(0.95);
    expect(quantile(load.probeDelaysMs, 0.99)).toBeLessThan(50);
    expect(load.probesSent - load.probeDelaysMs.length).toBeLessThan(20);
  });

  test("one stream alone fills 100 MB/s at 100 ms: the window grows as far as it must", () => {
    const path = new Path({ bytesPerMs: 100_000, rttMs: 100 });
    const load = bulk(path);
    path.run(3_000);
    const before = load.received;
    path.run(2_000);
    expect((load.received - before) / (2_000 * 100_000)).toBeGreaterThanOrEqual(0.95);
  });

  test.each(paths.filter(([mbit]) => mbit < 1_000))(
    "does so too when both event loops go round once in 10 ms: %d Mbit/s at %d ms",
    (mbit, rttMs) => {
      const path = new Path({ bytesPerMs: mbit * MBIT, rttMs, turnMs: 10 });
      const load = bulk(path, { probeIntervalMs: 19.7 });
      path.run(2_000);
      const before = load.received;
      path.run(8_000);
      expect((load.received - before) / (8_000 * mbit * MBIT)).toBeGreaterThanOrEqual(0.95);
      expect(quantile(load.probeDelaysMs, 0.99)).toBeLessThan(60);
    },
  );

  test("small messages fill a path as well as large ones", () => {
    const path = new Path({ bytesPerMs: 100 * MBIT, rttMs: 10 });
    const load = bulk(path, { messageBytes: 100 });
    path.run(1_000);
    const before = load.received;
    path.run(2_000);
    // 2 bytes of head to 100 of message.
    expect((load.received - before) / (2_000 * 100 * MBIT)).toBeGreaterThanOrEqual(0.95);
  });

  test("on a fast path a probe waits for a third of the time that a slow one needs", () => {
    const path = new Path({ bytesPerMs: 1_000 * MBIT, rttMs: 0.2 });
    const load = bulk(path);
    path.run(2_000);
    const probes = load.probeDelaysMs.length;
    path.run(2_000);
    expect(quantile(load.probeDelaysMs.slice(probes), 0.99)).toBeLessThan(10);
  });

  test("on a slow path a frame takes no longer than 10 ms", () => {
    const path = new Path({ bytesPerMs: 10 * MBIT, rttMs: 10 });
    bulk(path);
    path.run(2_000);
    const { frames, bytes } = path.dialer;
    path.run(2_000);
    expect((path.dialer.bytes - bytes) / (path.dialer.frames - frames)).toBeLessThan(10 * 10 * MBIT);
  });

  test("the view of an empty path is renewed while the path is kept full", () => {
    const path = new Path({ bytesPerMs: 10 * MBIT, rttMs: 50 });
    bulk(path);
    path.run(120_000);
    // Every sample holds the 5 ms that its own frame takes at the bottleneck; with the standing queue it would hold 25
    // more.
    expect(path.dialer.link.minRttMs).toBeLessThan(60);
    expect(path.dialer.link.rttMs).toBeLessThan(90);
  });

  test("a stack that admits what it holds is not filled beyond it", () => {
    const path = new Path({
      bytesPerMs: 100 * MBIT,
      rttMs: 10,
      hiddenBytes: 0,
      link: { maxBufferedBytes: 100_000 },
    });
    const load = bulk(path);
    let most = 0;
    const watch = () => {
      most = Math.max(most, path.dialer.direction.bufferedBytes(path.now));
      path.at(path.now + 1, watch);
    };
    watch();
    path.run(1_000);
    const before = load.received;
    path.run(2_000);
    expect((load.received - before) / (2_000 * 100 * MBIT)).toBeGreaterThanOrEqual(0.95);
    expect(most).toBeLessThan(100_000 + 2 * 16_384);
  });
});

describe("a link over a path that changes", () => {
  test.each([
    ["slower", 1_000, 10, 10, 10],
    ["slower and long", 100, 10, 100, 100],
    ["faster", 10, 100, 10, 10],
    ["longer", 100, 100, 10, 100],
    ["much longer", 10, 10, 10, 300],
    ["shorter", 100, 100, 100, 10],
  ])("finds its pace again within 6 s: %s", (_, mbitBefore, mbitAfter, rttBefore, rttAfter) => {
    const path = new Path({ bytesPerMs: mbitBefore * MBIT, rttMs: rttBefore });
    const load = bulk(path);
    path.run(2_000);
    for (const { direction } of [path.dialer, path.answerer]) {
      direction.bytesPerMs = mbitAfter * MBIT;
      direction.delayMs = rttAfter / 2;
    }
    path.run(6_000);
    const before = load.received;
    const probes = load.probeDelaysMs.length;
    path.run(3_000);
    expect((load.received - before) / (3_000 * mbitAfter * MBIT)).toBeGreaterThanOrEqual(0.9);
    expect(quantile(load.probeDelaysMs.slice(probes), 0.9)).toBeLessThan(50);
    expect(load.dead).toBe(false);
  });
});

describe("a link over a stack that narrows its window", () => {
  test("keeps the narrower one full, and a second and a half later a probe waits for the stack's pauses, not for a queue", () => {
    const windowBytes = 1_048_576;
    const path = new Path({ bytesPerMs: 100 * MBIT, rttMs: 100, windowBytes });
    const load = bulk(path);
    path.run(3_000);
    path.dialer.direction.windowBytes = windowBytes / 2;
    path.run(1_750);
    const before = load.received;
    const probes = load.probeDelaysMs.length;
    path.run(3_000);
    expect((load.received - before) / ((3_000 * windowBytes) / 2 / 100)).toBeGreaterThanOrEqual(0.95);
    // Half a window leaves in 42 ms, and the next one 100 ms after it.
    expect(quantile(load.probeDelaysMs.slice(probes), 0.95)).toBeLessThan(58 + 25);
  });
});

describe("a link over a stack that begins with ten packets after every pause", () => {
  test("begins with little more itself, so that no probe waits for all of the way up, and is as fast as ever 4 s later", () => {
    const payload = new Uint8Array(65_536);
    const path = new Path({ bytesPerMs: 100 * MBIT, rttMs: 100, windowBytes: 1_048_576, burstBytes: 11_720 });
    const load = bulk(path);
    const { dialer } = path;
    const { onOutput } = dialer;
    let stream = 0;
    dialer.onOutput = (output, now) => {
      if (output.type === "writable") ({ stream } = output);
      onOutput(output, now);
    };
    path.run(4_000);
    dialer.onOutput = () => {};
    path.run(2_000);
    const probes = load.probeDelaysMs.length;
    dialer.onOutput = onOutput;
    dialer.fill(stream, payload);
    path.run(2_000);
    // Filled at once it would be ten round trips.
    expect(quantile(load.probeDelaysMs.slice(probes), 1)).toBeLessThan(300);
    path.run(2_000);
    const before = load.received;
    path.run(2_000);
    expect((load.received - before) / ((2_000 * 1_048_576) / 100)).toBeGreaterThanOrEqual(0.9);
  });
});

describe("a link over a path that stalls", () => {
  test.each([
    [10, 0.2],
    [10, 100],
    [100, 10],
    [100, 100],
  ])("for a second once, it is as fast as before half a second later: %d Mbit/s at %d ms", (mbit, rttMs) => {
    let stalling = false;
    const random = new SeededRandom(1);
    const once = { u32: () => (stalling ? 0 : 0xffff_ffff), fork: () => random };
    const path = new Path({ bytesPerMs: mbit * MBIT, rttMs, stall: { probability: 0.5, ms: 1_000, random: once } });
    const load = bulk(path);
    path.run(3_000);
    stalling = true;
    path.run(10);
    stalling = false;
    path.run(1_490);
    const before = load.received;
    path.run(1_000);
    expect((load.received - before) / (1_000 * mbit * MBIT)).toBeGreaterThanOrEqual(0.9);
    expect(load.dead).toBe(false);
  });

  test.each([1, 2, 3, 4])("for a second at every hundredth frame, it neither dies nor starves: seed %d", (seed) => {
    const stall = { probability: 0.01, ms: 1_000, random: new SeededRandom(seed) };
    const path = new Path({ bytesPerMs: 100 * MBIT, rttMs: 10, stall });
    const load = bulk(path);
    path.run(60_000);
    expect(load.dead).toBe(false);
    // Between two stalls lie about a hundred frames: 1.6 MB, so a second of stall for every 0.13 s of path.
    expect(load.received / 60_000).toBeGreaterThan(0.05 * 100 * MBIT);
    expect(Math.max(...load.probeDelaysMs)).toBeLessThan(2_500);
  });
});
