/**
 * The NAT lab: `npm run test:nat -- [--part matrix,loss,delay,live,alone] [--stack native,werift,auto] [--types a,b] [--only TEXT]
 * [--rounds n] [--loss PERCENT] [--delay MS] [--turn starling|coturn] [--json]`. Without arguments all of it, with `auto`.
 *
 * `matrix`: two fresh agents behind every pair of NAT types, with signaling, STUN and TURN of our own in the middle. Which path
 * they must find is known from theory; what they find, and how long it takes, is printed, and what `starling why` says of it is
 * checked. `loss`, `delay`: some of these pairs, with the first of the two behind a line that loses packets, or is as long as
 * `--delay` there and back. `live`: the network changes under pairs that talk. `alone`: the matrix with each stack by
 * itself. Every NAT is looked at with a probe first: a lab that is not what it claims proves nothing. `--types` and `--only`
 * leave cells out; `--only` takes those, and the live changes, that have the text in their names.
 *
 * At the end each limit, what was measured and whether it holds. Exits with 0 when all of them do, 1 when one does not, 77 when
 * the lab cannot run here.
 */
import { parseArgs } from "node:util";
import { pairCells, SPECIAL_CELLS } from "./cells.ts";
import { buildLab, removeLab } from "./lab.ts";
import { NAT_NAMES } from "./nat-types.ts";
import { PARTS, type Plan, runParts } from "./parts.ts";
import { verifyTypes } from "./probing.ts";
import { limitTable } from "./report.ts";
import { missingForDelay, missingForLab } from "./requirements.ts";
import { HAS_COTURN } from "./turn-servers.ts";

/** The exit status of what was skipped, as automake has it. */
const SKIPPED = 77;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function parseList<Word extends string>(text: string, known: readonly Word[], what: string): Word[] {
  return text.split(",").map((word) => {
    const found = known.find((candidate) => candidate === word);
    if (found !== undefined) return found;
    say(`${what} ${JSON.stringify(word)} is not known; known are ${known.join(", ")}`);
    return process.exit(2);
  });
}

function parseNumber(text: string, what: string, least: number, most: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  say(`${what} is a whole number of ${least} to ${most}, not ${JSON.stringify(text)}`);
  return process.exit(2);
}

const { values } = parseArgs({
  options: {
    part: { type: "string", default: PARTS.join(",") },
    stack: { type: "string", default: "auto" },
    types: { type: "string", default: NAT_NAMES.join(",") },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "1" },
    loss: { type: "string", default: "10" },
    delay: { type: "string", default: "100" },
    turn: { type: "string", default: "starling" },
    json: { type: "boolean", default: false },
  },
});
const types = parseList(values.types, NAT_NAMES, "type");
const [turn] = parseList(values.turn, ["starling", "coturn"], "TURN server");
const cells = types.length === NAT_NAMES.length ? [...pairCells(types), ...SPECIAL_CELLS] : pairCells(types);
const end = new AbortController();
const plan: Plan = {
  parts: parseList(values.part, PARTS, "part"),
  stacks: parseList(values.stack, ["native", "werift", "auto"], "stack"),
  cells: cells.filter(({ name }) => name.includes(values.only)),
  only: values.only,
  rounds: parseNumber(values.rounds, "--rounds", 1, 1_000),
  lossPercent: parseNumber(values.loss, "--loss", 0, 100),
  delayMs: parseNumber(values.delay, "--delay", 1, 10_000),
  say,
  signal: end.signal,
};
const missing =
  missingForLab() ??
  (plan.parts.includes("delay") ? missingForDelay() : undefined) ??
  (turn === "coturn" && !HAS_COTURN ? "coturn is not installed" : undefined);
if (missing !== undefined) {
  say(`skipped: ${missing}`);
  process.exit(SKIPPED);
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    end.abort();
    void removeLab().finally(() => process.exit(1));
  });
}
const startedAt = performance.now();
try {
  const lab = await buildLab(turn);
  await verifyTypes(lab.network, types);
  say(`every NAT is what it claims to be: ${types.join(", ")}`);
  const results = await runParts(lab, plan);
  const tookMs = Math.round(performance.now() - startedAt);
  if (values.json) process.stdout.write(`${JSON.stringify({ ...results, tookMs }, null, 2)}\n`);
  else process.stdout.write(`\n${limitTable(results.limits)}\n`);
  say(`took ${Math.round(tookMs / 1_000)} s`);
  process.exitCode = results.limits.length > 0 && results.limits.every(({ ok }) => ok) ? 0 : 1;
} finally {
  await removeLab();
}
