import { expect, test } from "vitest";
import { KeyNotice } from "../../src/host/key-notice.ts";
import type { KeyEnd } from "../../src/proto/trust/key-end.ts";

/** Goal: the end of an issuing key is told once for each key, as long as the process runs. */

const DAY = 24 * 3_600_000;

function begin(first: KeyEnd | undefined) {
  let now = 0;
  let end = first;
  let due: { at: number; run: () => void } | undefined;
  const told: string[] = [];
  const warned: string[] = [];
  const notice = new KeyNotice({
    end: () => end,
    now: () => now,
    later: (ms, run) => {
      due = { at: now + ms, run };
    },
    log: { warn: (line) => void warned.push(line) },
    tell: ({ kid }) => void told.push(`${kid} ${Math.floor(now / DAY)}`),
  });
  notice.begin();
  const until = (at: number): void => {
    while (due !== undefined && due.at <= at) {
      const { at: then, run } = due;
      due = undefined;
      now = then;
      run();
    }
    now = at;
  };
  const change = (to: KeyEnd | undefined): void => {
    end = to;
  };
  return { notice, until, told, warned, change };
}

test("a key is told of a month before it ends, once, by event and log, and stands in the status from then on", () => {
  const { notice, until, told, warned } = begin({ kid: "a", endsAt: 100 * DAY });
  until(69 * DAY);
  expect([told, warned, notice.warning]).toEqual([[], [], undefined]);
  until(200 * DAY);
  expect(told).toEqual(["a 70"]);
  expect(warned).toHaveLength(1);
  expect(notice.warning).toMatch(/has ended/);
});

test("nobody is told while whoever started the process has no time to listen", () => {
  const { until, told } = begin({ kid: "a", endsAt: DAY });
  expect(told).toEqual([]);
  until(2_000);
  expect(told).toEqual(["a 0"]);
});

test("a key that was exchanged is spoken of no more, and its successor in its time", () => {
  const { notice, until, told, change } = begin({ kid: "a", endsAt: 40 * DAY });
  until(11 * DAY);
  change({ kid: "b", endsAt: 1_000 * DAY });
  notice.look();
  expect(notice.warning).toBeUndefined();
  until(980 * DAY);
  expect(told).toEqual(["a 10", "b 970"]);
  change(undefined);
  notice.look();
  expect(notice.warning).toBeUndefined();
});
