import { describe, expect, test } from "vitest";
import { randomBytes, SeededRandom } from "../../../src/proto/random.ts";
import { IdList } from "../../../src/proto/reconcile/id-list.ts";
import type { IdSet } from "../../../src/proto/reconcile/id-set.ts";
import { type Answer, encodeMessage, parseMessage, type Request } from "../../../src/proto/reconcile/messages.ts";
import { ALICE, addIds, BOB, emptySet, namesOf, Pair, randomIds, setOf } from "./pair.ts";

const ids = randomIds(new SeededRandom(1), 3_000);

/** Alice and Bob, of whom one's messages are rewritten. */
function lying(from: typeof ALICE, rewrite: (message: Request | Answer) => Request | Answer | undefined): Pair {
  const pair = new Pair(setOf(ids), addIds(emptySet(), ids, 60));
  pair.tamper = (bytes, sender) => {
    if (sender !== from) return bytes;
    const message = parseMessage(bytes);
    const rewritten = message && rewrite(message);
    return rewritten && encodeMessage(rewritten);
  };
  return pair.run();
}

function foreign(): IdList {
  const list = new IdList();
  list.push(1, 2, 3, 4);
  return list;
}

function madeUp(count: number, seed: number): IdList {
  const words = randomIds(new SeededRandom(seed), count);
  return IdList.fromBytes(new Uint8Array(words.buffer));
}

describe("a peer that asks and lies", () => {
  test("with cells that never decode is at fault after a bounded number of them", () => {
    const random = new SeededRandom(2);
    let cells = 0;
    const pair = lying(ALICE, (message) => {
      if (message.type !== "cells") return message;
      cells += message.cells.length / 28;
      return { ...message, cells: randomBytes(random, message.cells.length) };
    });
    // Alice herself is honest and has sent all that she ever would; whoever asks for more is at fault.
    expect(cells).toBe(64 + 3 * 256);
    expect(pair.faults).toEqual(["bob inconsistent"]);
    const bytes = encodeMessage({
      type: "cells",
      seq: 1,
      level: 8,
      bits: 0,
      section: 0,
      cells: randomBytes(random, 28),
    });
    pair.apply(pair.bob, { type: "message", peer: ALICE, bytes });
    expect(pair.faults).toEqual(["bob inconsistent", "alice undecodable"]);
    expect(pair.bob.machine.deadline()).toBeUndefined();
  });

  test("with the same cells again and again is at fault or finds nothing", () => {
    const pair = lying(ALICE, (message) => {
      if (message.type !== "cells") return message;
      const cells = new Uint8Array(message.cells.length);
      for (let at = 0; at < cells.length; at += 28) cells.set(message.cells.subarray(0, 28), at);
      return { ...message, cells };
    });
    expect(pair.bob.missing.size).toBe(0);
  });

  test("with cells of a part that was not agreed upon is at fault", () => {
    const wrong = lying(ALICE, (message) => (message.type === "cells" ? { ...message, level: 17 } : message));
    expect(wrong.faults).toEqual(["alice malformed"]);
  });

  test("without end is at fault after a bounded number of requests", () => {
    const pair = new Pair(setOf(ids), addIds(emptySet(), ids, 60));
    pair.apply(pair.alice, { type: "start", peer: BOB });
    pair.tamper = () => undefined;
    pair.settle();
    const bytes = encodeMessage({ type: "list", seq: 1, level: 3, from: 0, to: 8, bits: 0, part: 0 });
    for (let message = 0; message < 5_000 && pair.faults.length === 0; message++) {
      pair.apply(pair.bob, { type: "message", peer: ALICE, bytes });
    }
    expect(pair.faults).toEqual(["alice endless"]);
  });

  test("may offer what it likes: it is a claim, not an id of ours", () => {
    const pair = new Pair(setOf(ids), addIds(emptySet(), ids, 60));
    const before = pair.bob.missing.size;
    pair.run();
    pair.apply(pair.bob, {
      type: "message",
      peer: ALICE,
      bytes: encodeMessage({ type: "offer", seq: 1, ids: foreign() }),
    });
    expect(pair.bob.missing.size - before).toBe(60);
    expect(pair.faults).toEqual([]);
  });
});

describe("a peer that answers and lies", () => {
  const found = (change: Partial<Extract<Answer, { type: "found" }>>): Pair =>
    lying(BOB, (message) => (message.type === "found" ? { ...message, ...change } : message));

  test("with more findings than cells is at fault", () => {
    expect(found({ offered: madeUp(3_000, 3) }).faults).toEqual(["bob inconsistent"]);
  });

  test("with a leaf twice, or with findings that are empty and go on, is at fault", () => {
    expect(found({ leaves: [3, 3] }).faults).toEqual(["bob inconsistent"]);
    expect(
      found({ wanted: new IdList(), offered: new IdList(), leaves: [], ids: new IdList(), mixed: [], last: false })
        .faults,
    ).toEqual(["bob inconsistent"]);
  });

  test("with ids outside the leaves that it says they are in is at fault", () => {
    expect(found({ leaves: [3], ids: foreign() }).faults).toEqual(["bob misplaced"]);
    expect(found({ leaves: [], ids: foreign() }).faults).toEqual(["bob misplaced"]);
    expect(found({ mixed: [0x1ffff] }).faults).toEqual(["bob misplaced"]);
  });

  test("with an id listed twice is at fault", () => {
    const twice = foreign();
    twice.pushFrom(twice, 0);
    expect(found({ leaves: [4], ids: twice }).faults).toEqual(["bob inconsistent"]);
  });

  test("that wants ids which we do not have is told of nothing", () => {
    const wanted = madeUp(50, 4);
    const pair = found({ wanted, offered: new IdList() });
    expect(pair.faults).toEqual([]);
    for (const name of namesOf(wanted)) expect(pair.alice.surplus.has(name)).toBe(false);
  });

  test("with a listing that goes nowhere, or back, is at fault", () => {
    for (const next of [0, 5]) {
      const pair = new Pair(setOf(ids), emptySet());
      pair.tamper = (bytes) => {
        const message = parseMessage(bytes);
        if (message?.type !== "listing") return bytes;
        return encodeMessage({ ...message, next: next === 0 ? 0 : 1 << 17 });
      };
      expect(pair.run().faults).toEqual(["bob inconsistent"]);
    }
  });

  test("that asks for cells for ever is left alone after a bounded number", () => {
    const pair = lying(BOB, (message) => (message.type === "differ" ? message : undefined));
    for (let message = 0; message < 200 && pair.faults.length === 0; message++) {
      pair.apply(pair.alice, { type: "message", peer: BOB, bytes: encodeMessage({ type: "more", seq: 1 }) });
    }
    expect(pair.faults).toEqual(["bob inconsistent"]);
    expect(pair.endings).toEqual(["failed"]);
    expect(pair.bytes).toBeLessThan(30_000);
  });

  test("to what nobody has asked is at fault, and to what is over is ignored", () => {
    const pair = new Pair(setOf(ids), setOf(ids)).run();
    const late = encodeMessage({ type: "more", seq: 1 });
    pair.apply(pair.alice, { type: "message", peer: BOB, bytes: late });
    expect(pair.faults).toEqual([]);
    const early = encodeMessage({ type: "more", seq: 2 });
    pair.apply(pair.alice, { type: "message", peer: BOB, bytes: early });
    expect(pair.faults).toEqual(["bob unsolicited"]);
  });
});

test("arbitrary bytes, and messages with any byte changed, never throw and end in a fault or an ending", () => {
  const random = new SeededRandom(6);
  const small = (from: number): IdSet => addIds(emptySet(), ids, from, from + 400);
  for (let round = 0; round < 120; round++) {
    const pair = new Pair(small(0), small(30), round);
    const target = random.u32() % 6;
    let message = 0;
    pair.tamper = (bytes) => {
      if (message++ !== target) return bytes;
      const changed = bytes.slice();
      changed[random.u32() % changed.length] = random.u32() & 0xff;
      return round % 5 === 0 ? randomBytes(random, 1 + (random.u32() % 40)) : changed;
    };
    pair.run();
    const { machine } = pair.alice;
    if (machine.isAsking) machine.handle({ type: "timeout" }, 1e9);
    expect(machine.isAsking).toBe(false);
  }
});
