/**
 * The NAT lab: `npm run test:nat -- [--stack native,werift,auto] [--types a,b] [--rounds n] [--loss percent]
 * [--turn starling|coturn] [--live] [--json]`.
 *
 * Two fresh agents in each cell, behind every pair of NAT types, with signaling, STUN and TURN of our own in the middle. Which
 * path they must find is known from theory; what they find, and how long it takes, is printed. Every NAT is looked at with a
 * probe first: a lab that is not what it claims proves nothing. With `--live` the network changes under pairs that are linked;
 * `--only TEXT` takes only the cells or changes that have the text in their names.
 *
 * Exits with 0 when all is as it should be, 1 when it is not, 77 when it cannot run here.
 */
import { parseArgs } from "node:util";
import { type Cell, pairCells, SPECIAL_CELLS } from "./cells.ts";
import { buildLab, type Lab, removeLab } from "./lab.ts";
import { CHANGES, type Change, type LiveResult, runChange } from "./live.ts";
import { NAT_NAMES } from "./nat-types.ts";
import { verifyTypes } from "./probing.ts";
import { lineOf, liveLine, summarise, summaryLine } from "./report.ts";
import { missingForLab } from "./requirements.ts";
import { type CellResult, runCell } from "./run-cell.ts";
import type { StackWord } from "./site.ts";
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

async function runMatrix(lab: Lab, cells: readonly Cell[], stacks: readonly StackWord[]): Promise<CellResult[]> {
  const results: CellResult[] = [];
  for (const stack of stacks) {
    for (const cell of cells.flatMap((each) => Array<Cell>(rounds).fill(each))) {
      const result = await runCell(lab, cell, stack, lossPercent);
      if (interrupted) return results;
      results.push(result);
      say(lineOf(result));
    }
  }
  return results;
}

async function runLive(lab: Lab, changes: readonly Change[], stacks: readonly StackWord[]): Promise<LiveResult[]> {
  const results: LiveResult[] = [];
  for (const stack of stacks) {
    for (const change of changes) {
      const result = await runChange(lab, change, stack);
      if (interrupted) return results;
      results.push(result);
      say(liveLine(result));
    }
  }
  return results;
}

const { values } = parseArgs({
  options: {
    stack: { type: "string", default: "auto" },
    types: { type: "string", default: NAT_NAMES.join(",") },
    rounds: { type: "string", default: "1" },
    loss: { type: "string", default: "0" },
    turn: { type: "string", default: "starling" },
    live: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});
const stacks = parseList(values.stack, ["native", "werift", "auto"], "stack");
const types = parseList(values.types, NAT_NAMES, "type");
const rounds = Number(values.rounds);
const lossPercent = Number(values.loss);
const [turn] = parseList(values.turn, ["starling", "coturn"], "TURN server");
const missing = missingForLab() ?? (turn === "coturn" && !HAS_COTURN ? "coturn is not installed" : undefined);
if (missing !== undefined) {
  say(`skipped: ${missing}`);
  process.exit(SKIPPED);
}
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    interrupted = true;
    void removeLab().finally(() => process.exit(1));
  });
}
try {
  const lab = await buildLab(turn);
  await verifyTypes(lab.network, types);
  say(`every NAT is what it claims to be: ${types.join(", ")}`);
  if (values.live) {
    const changes = CHANGES.filter(({ name }) => name.includes(values.only));
    const results = await runLive(lab, changes, stacks);
    if (values.json) process.stdout.write(`${JSON.stringify({ results }, null, 2)}\n`);
    process.exitCode = results.every(({ failure }) => failure === null) ? 0 : 1;
  } else {
    const cells = types.length === NAT_NAMES.length ? [...pairCells(types), ...SPECIAL_CELLS] : pairCells(types);
    const chosen = cells.filter(({ name }) => name.includes(values.only));
    const results = await runMatrix(lab, chosen, stacks);
    const summaries = summarise(results, lossPercent > 0);
    if (values.json) process.stdout.write(`${JSON.stringify({ results, summaries }, null, 2)}\n`);
    else process.stdout.write(`${summaries.map(summaryLine).join("\n")}\n`);
    process.exitCode = summaries.every(({ ok }) => ok) ? 0 : 1;
  }
} finally {
  await removeLab();
}
