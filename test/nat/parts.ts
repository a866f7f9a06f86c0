import { type Cell, pairCell } from "./cells.ts";
import type { Lab } from "./lab.ts";
import { aloneLimits, type Limit, liveLimits, lossLimits, matrixLimits } from "./limits.ts";
import { CHANGES, type LiveResult, runChange } from "./live.ts";
import type { NatName } from "./nat-types.ts";
import { lineOf, liveLine } from "./report.ts";
import { type CellResult, type Conditions, runCell } from "./run-cell.ts";
import type { StackWord } from "./site.ts";

/** The parts of a whole run of the lab, in the order in which they run. */
export const PARTS = ["matrix", "loss", "delay", "live", "alone"] as const;
export type PartName = (typeof PARTS)[number];

/** What is to be run. */
export interface Plan {
  readonly parts: readonly PartName[];
  /** The stacks of the parts but `alone`. */
  readonly stacks: readonly StackWord[];
  /** The cells of `matrix` and `alone`. */
  readonly cells: readonly Cell[];
  /** A text that the cells and changes of the other parts have in their names. */
  readonly only: string;
  readonly rounds: number;
  readonly lossPercent: number;
  readonly delayMs: number;
  /** What each result says as soon as there is one. */
  say(line: string): void;
  readonly signal: AbortSignal;
}

export interface Results {
  readonly cells: Record<Exclude<PartName, "live">, CellResult[]>;
  readonly live: LiveResult[];
  readonly limits: readonly Limit[];
}

/** With loss each of these is run four times: 20 links, over every kind of path. */
const LOSSY: readonly (readonly [NatName, NatName])[] = [
  ["none", "none"],
  ["port-restricted", "port-restricted"],
  ["carrier-grade", "full-cone"],
  ["symmetric", "symmetric"],
  ["port-restricted", "udp-blocked"],
];
const LOSSY_ROUNDS = 4;
/** Far away, every kind of path as well. */
const DELAYED: readonly (readonly [NatName, NatName])[] = [
  ["none", "none"],
  ["port-restricted", "port-restricted"],
  ["carrier-grade", "early-inbound"],
  ["symmetric", "full-cone"],
  ["symmetric", "symmetric"],
  ["symmetric", "port-restricted"],
  ["port-restricted", "udp-blocked"],
  ["udp-blocked", "udp-blocked"],
];
/** The longest that a stack gets for what it may not be able to do, ms. */
const ALONE_PATIENCE_MS = 10_000;

/** Runs the parts of a plan one after the other. Stops, with what there is, when its signal says so. */
export async function runParts(lab: Lab, plan: Plan): Promise<Results> {
  const { stacks, lossPercent, delayMs } = plan;
  const cells: Results["cells"] = { matrix: [], loss: [], delay: [], alone: [] };
  const live: LiveResult[] = [];
  const has = (part: PartName): boolean => plan.parts.includes(part);
  const chosen = (pairs: typeof LOSSY): Cell[] =>
    pairs.map(([one, other]) => pairCell(one, other)).filter(({ name }) => name.includes(plan.only));
  const run = (list: readonly Cell[], words: readonly StackWord[], conditions: Conditions, rounds = plan.rounds) =>
    runCells(lab, plan, { cells: list, stacks: words, conditions, rounds });

  if (has("matrix")) cells.matrix = await run(plan.cells, stacks, {});
  if (has("loss")) cells.loss = await run(chosen(LOSSY), stacks, { lossPercent }, LOSSY_ROUNDS * plan.rounds);
  const delay = { oneWayMs: delayMs / 2, jitterMs: delayMs / 20 };
  if (has("delay")) cells.delay = await run(chosen(DELAYED), stacks, { delay });
  if (has("live")) live.push(...(await runChanges(lab, plan)));
  const covering = cells.matrix.filter(({ stack }) => stack === "auto");
  if (has("alone")) {
    cells.alone = await run(plan.cells, ["native", "werift"], { patienceMs: ALONE_PATIENCE_MS });
    const unable = new Set(cells.alone.filter(({ failure }) => failure !== null).map(({ cell }) => cell));
    for (const { cell } of covering) unable.delete(cell);
    const rest = plan.cells.filter(({ name }) => unable.has(name));
    covering.push(...(await run(rest, ["auto"], {})));
  }
  return { cells, live, limits: judge(plan, cells, live, covering) };
}

function judge(
  { stacks, lossPercent, delayMs }: Plan,
  cells: Results["cells"],
  live: readonly LiveResult[],
  covering: readonly CellResult[],
): Limit[] {
  const of = (results: readonly CellResult[], stack: StackWord): CellResult[] =>
    results.filter((result) => result.stack === stack);
  const limits = stacks.flatMap((stack) => [
    ...matrixLimits(stack, of(cells.matrix, stack)),
    ...lossLimits(`${stack}, ${lossPercent} % lost on one side`, of(cells.loss, stack)),
    ...matrixLimits(`${stack}, one side ${delayMs} ms away`, of(cells.delay, stack), delayMs),
    ...liveLimits(
      stack,
      live.filter((result) => result.stack === stack),
    ),
  ]);
  return [...limits, ...aloneLimits(cells.alone, covering)];
}

async function runCells(
  lab: Lab,
  { say, signal }: Plan,
  what: {
    readonly cells: readonly Cell[];
    readonly stacks: readonly StackWord[];
    readonly conditions: Conditions;
    readonly rounds: number;
  },
): Promise<CellResult[]> {
  const results: CellResult[] = [];
  for (const stack of what.stacks) {
    for (const cell of what.cells.flatMap((each) => Array<Cell>(what.rounds).fill(each))) {
      if (signal.aborted) return results;
      const result = await runCell(lab, cell, stack, what.conditions);
      results.push(result);
      if (!signal.aborted) say(lineOf(result));
    }
  }
  return results;
}

async function runChanges(lab: Lab, { stacks, only, say, signal }: Plan): Promise<LiveResult[]> {
  const results: LiveResult[] = [];
  for (const stack of stacks) {
    for (const change of CHANGES.filter(({ name }) => name.includes(only))) {
      if (signal.aborted) return results;
      const result = await runChange(lab, change, stack);
      results.push(result);
      if (!signal.aborted) say(liveLine(result));
    }
  }
  return results;
}
