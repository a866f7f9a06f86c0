import { beforeEach, describe, expect, test } from "vitest";
import { CaseBook, soleAccuserMs, suspicionMs } from "../../../src/proto/membership/cases.ts";
import { id, NOW, suspicion } from "./fixtures.ts";

const WINDOW = 1_000;
const accused = id(9);

let observers = 12;
let book: CaseBook;

beforeEach(() => {
  observers = 12;
  book = new CaseBook({ members: () => 30, observers: () => observers, windowMs: () => WINDOW });
});

/** Observer `number` accuses under the id of bytes `fill`. */
function accuse(number: number, fill: number, at: number): boolean {
  return book.accuse(suspicion(id(number), accused, { id: fill }), at);
}

function due(at: number): string | undefined {
  return book.takeDue(at, () => 1, { stands: () => true, ask: () => 0 })?.accused;
}

describe("how long a suspicion runs", () => {
  test("a sole accuser waits longer in a larger cluster: 3 s for 2, 7.5 s for 30, 21 s for 10,000", () => {
    expect([1, 2, 5, 30, 10_000].map(soleAccuserMs)).toEqual([1_500, 3_000, 4_500, 7_500, 21_000]);
  });

  test.each([
    // confirmations, other observers, members, expected
    [0, 0, 2, 3_000],
    [0, 1, 3, 3_000],
    [1, 1, 3, 1_000],
    [0, 11, 30, 7_500],
    [1, 11, 30, 4_250],
    [2, 11, 30, 2_352],
    [3, 11, 30, 1_000],
    [9, 11, 30, 1_000],
    [1, 2, 30, 3_398.5],
    [2, 2, 30, 1_000],
  ])("with %i confirmations of %i others among %i members: %d ms", (confirmations, others, members, expected) => {
    expect(suspicionMs(confirmations, others, members, WINDOW)).toBeCloseTo(expected, 6);
  });

  test("it is never shorter than the window", () => {
    expect(suspicionMs(0, 0, 2, 5_000)).toBe(5_000);
    expect(suspicionMs(3, 11, 30, 9_000)).toBe(9_000);
  });
});

describe("a case", () => {
  test("is decided when the sole accuser's time is up, once", () => {
    accuse(1, 1, NOW);
    expect(book.deadline()).toBe(NOW + 7_500);
    expect(due(NOW + 7_499)).toBeUndefined();
    expect(due(NOW + 7_500)).toBe(accused);
    expect(due(NOW + 7_500)).toBeUndefined();
    expect(book.size).toBe(0);
  });

  test("is decided at the window when three have confirmed, however early they did", () => {
    accuse(1, 1, NOW);
    for (const number of [2, 3, 4]) accuse(number, 1, NOW + 10);
    expect(due(NOW + 999)).toBeUndefined();
    expect(due(NOW + 1_000)).toBe(accused);
  });

  test("is decided at once by a confirmation that completes the number after the window", () => {
    accuse(1, 1, NOW);
    for (const number of [2, 3, 4]) accuse(number, 1, NOW + 2_000);
    expect(due(NOW + 2_000)).toBe(accused);
  });

  test("counts an accuser once", () => {
    accuse(1, 1, NOW);
    expect(accuse(2, 1, NOW)).toBe(true);
    expect(accuse(2, 1, NOW)).toBe(false);
    expect(book.of(accused)?.charges.get("01".repeat(16))?.accusers).toEqual([id(1), id(2)]);
  });

  test("keeps a clock for each id, and the earliest decides", () => {
    accuse(1, 2, NOW);
    accuse(2, 1, NOW + 100);
    expect(book.foremost(accused)?.id).toBe("01".repeat(16));
    for (const number of [3, 4, 5]) accuse(number, 1, NOW + 200);
    expect(book.deadline()).toBe(NOW + 1_100);
  });

  test("lets no accuser open a second charge", () => {
    accuse(1, 1, NOW);
    expect(accuse(1, 2, NOW)).toBe(false);
    accuse(2, 3, NOW);
    expect(accuse(1, 3, NOW)).toBe(true);
  });

  test("ends only by an answer to each of its ids", () => {
    accuse(1, 1, NOW);
    accuse(2, 2, NOW);
    expect(book.answer("01".repeat(16), accused, NOW)).toBe(false);
    expect(book.isAnswered("01".repeat(16), accused)).toBe(true);
    expect(book.isAnswered("01".repeat(16), id(8))).toBe(false);
    expect(book.answer("02".repeat(16), accused, NOW)).toBe(true);
    expect(book.deadline()).toBeUndefined();
  });

  test("goes by the observers that there are when its time comes", () => {
    observers = 4;
    accuse(1, 1, NOW);
    accuse(2, 1, NOW);
    expect(book.deadline()).toBe(NOW + 4_250);
    observers = 2;
    accuse(3, 1, NOW);
    expect(due(NOW + 1_000)).toBe(accused);
  });

  test("is put off when observers have come meanwhile", () => {
    observers = 2;
    accuse(1, 1, NOW);
    accuse(2, 1, NOW);
    observers = 12;
    expect(due(NOW + 1_000)).toBeUndefined();
    expect(book.deadline()).toBe(NOW + 4_250);
  });

  test("is not decided before the end of a grant", () => {
    accuse(1, 1, NOW);
    book.grant(NOW + 20_000, NOW + 10_000);
    expect(due(NOW + 19_999)).toBeUndefined();
    expect(due(NOW + 20_000)).toBe(accused);
  });

  test("of a mere claim waits five seconds longer than for a sole accuser, and any answer ends it", () => {
    book.claim(accused, NOW);
    expect(book.deadline()).toBe(NOW + 12_500);
    accuse(1, 1, NOW);
    expect(book.answer("01".repeat(16), accused, NOW)).toBe(true);
    expect(book.of(accused)).toBeUndefined();
  });

  test("remembers under which ids it was decided", () => {
    accuse(1, 1, NOW);
    due(NOW + 8_000);
    expect(book.isConcluded("01".repeat(16), accused, 1)).toBe(true);
    expect(book.isConcluded("01".repeat(16), accused, 2)).toBe(false);
    expect(book.isConcluded("01".repeat(16), id(8), 1)).toBe(false);
  });

  test("takes no more charges than its bound", () => {
    for (let number = 10; number < 10 + 32; number++) expect(accuse(number, number, NOW)).toBe(true);
    expect(accuse(50, 50, NOW)).toBe(false);
    expect(book.of(accused)?.charges.size).toBe(32);
  });
});

describe("a case that rests on few accusers", () => {
  const asked: string[] = [];
  const take = (at: number, stands: (accuser: string) => boolean = () => true) =>
    book.takeDue(at, () => 1, {
      stands,
      ask: ({ id: charge }) => {
        asked.push(charge.slice(0, 2));
        return 500;
      },
    });
  const AT = NOW + soleAccuserMs(30);

  beforeEach(() => {
    asked.length = 0;
  });

  test("is put to its accused three times, and then decided", () => {
    accuse(1, 1, NOW);
    for (let question = 0; question < 3; question++) {
      expect(take(AT + 500 * question)).toBeUndefined();
      expect(take(AT + 500 * question + 499)).toBeUndefined();
    }
    expect(asked).toEqual(["01", "01", "01"]);
    expect(take(AT + 1_500)).toEqual({ accused, verdict: "down" });
  });

  test("is dismissed when none of them observes the accused any more", () => {
    accuse(1, 1, NOW);
    accuse(2, 1, NOW);
    expect(take(AT, () => false)).toEqual({ accused, verdict: "dismissed" });
    expect(book.of(accused)).toBeUndefined();
  });

  test("goes on without those that do not", () => {
    accuse(1, 1, NOW);
    accuse(2, 1, NOW);
    const early = NOW + suspicionMs(1, 11, 30, WINDOW);
    expect(take(early, (accuser) => accuser === id(1))).toBeUndefined();
    expect(book.of(accused)?.charges.size).toBe(1);
    expect(asked).toEqual([]);
    expect(take(AT)).toBeUndefined();
    expect(asked).toEqual(["01"]);
  });

  test("is not reviewed when it is confirmed", () => {
    for (let number = 1; number <= 4; number++) accuse(number, 2, NOW);
    expect(take(NOW + WINDOW, () => false)).toEqual({ accused, verdict: "down" });
    expect(asked).toEqual([]);
  });
});
