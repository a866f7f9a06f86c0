import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Field, HonestPair } from "./field.ts";
import { badToken, JWT_CASES } from "./jwt-cases.ts";
import { SIGNALING_CASES } from "./signaling-cases.ts";
import type { Measure } from "./target.ts";
import { TICKET_CASES } from "./ticket-cases.ts";

/**
 * Goal: whatever anybody sends to a signaling server ends its sender's own connection, and nobody else notices.
 *
 * Method: a real server in a process of its own. Each case runs once, then `ATTACK_ROUNDS` times (`npm run test:attack`: 1,000), twenty
 * at once and each from an address of its own, while two honest members exchange signals. Then the process must live, no
 * signal may be lost, no turn of the event loop may have taken above 50 ms of processor time, memory may have grown by
 * less than 32 MiB, and the log must have stayed calm.
 */

const ROUNDS = Number(process.env["ATTACK_ROUNDS"] ?? 20);
const AT_ONCE = 20;
const MAX_TURN_MS = 50;
const MAX_GROWTH_MIB = 32;
/** A rate-limited line now and then: at most this many for a case, however often it runs. */
const MAX_LOG_LINES = 40;
const PATIENCE_MS = 120_000 + ROUNDS * 100;

let field: Field;
let calm: Measure;

beforeAll(async () => {
  field = await Field.open();
  // What the first connections of a process allocate once is not growth.
  for (let round = 0; round < 50; round++) (await field.member()).socket.terminate();
  calm = await field.measure();
});

afterAll(() => field[Symbol.asyncDispose]());

/** Runs an attack that often beside the honest pair, and judges what it cost. */
async function besideHonestMembers(rounds: number, attack: () => Promise<void>): Promise<Measure> {
  const before = await field.measure();
  const pair = await HonestPair.among(field);
  for (let done = 0; done < rounds; done += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, rounds - done) }, attack));
  }
  expect(await pair.stop()).toBeGreaterThan(0);
  const after = await field.measure();
  expect(after.longestTurnMs).toBeLessThan(MAX_TURN_MS);
  expect(after.heapMiB - calm.heapMiB).toBeLessThan(MAX_GROWTH_MIB);
  expect(after.logLines - before.logLines).toBeLessThan(MAX_LOG_LINES);
  return after;
}

describe("a token with", () => {
  test.each(JWT_CASES)("$name opens no session, once and again and again", { timeout: PATIENCE_MS }, async (attack) => {
    const identity = field.identity();
    const shown = async (): Promise<void> => {
      const { client, answer } = await field.login(identity, await badToken(attack, field, identity.id));
      client.socket.terminate();
      expect(answer).toMatchObject({ type: "refused", code: attack.code });
    };
    await shown();
    await besideHonestMembers(ROUNDS, shown);
  });

  test("nothing wrong opens one, so what is refused above is refused for its fault", async () => {
    (await field.member()).socket.terminate();
  });
});

describe("a connection with", () => {
  test.each([...SIGNALING_CASES, ...TICKET_CASES])(
    "$name costs nobody else anything, once and again and again",
    { timeout: PATIENCE_MS },
    async (attack) => {
      const run = async (): Promise<void> => expect(await attack.attack(field)).toBe(attack.ending);
      const before = await field.measure();
      await run();
      const rounds = Math.ceil(ROUNDS / (attack.share ?? 1));
      const after = await besideHonestMembers(rounds, run);
      if (attack.counter === undefined) return;
      const counted = (after.counters[attack.counter] ?? 0) - (before.counters[attack.counter] ?? 0);
      expect(counted).toBe(rounds + 1);
    },
  );
});

test("afterwards the server holds no connection of theirs, and no memory", { timeout: PATIENCE_MS }, async () => {
  await expect.poll(async () => (await field.measure()).connections, { timeout: 20_000 }).toBe(0);
  const { heapMiB, rssMiB } = await field.measure();
  expect(heapMiB - calm.heapMiB).toBeLessThan(MAX_GROWTH_MIB);
  expect(rssMiB - calm.rssMiB).toBeLessThan(4 * MAX_GROWTH_MIB);
});
