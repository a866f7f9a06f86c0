import type { Kind } from "./cells.ts";
import { CLIMB_MS, type LiveResult, RECOVERY_MS } from "./live.ts";
import { type CellResult, RIGHT } from "./run-cell.ts";
import type { StackWord } from "./site.ts";

/** What is asked of the agent in the lab, and whether what was measured keeps to it. */

export interface Limit {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
  readonly ok: boolean;
}

/** What half of the cells of each kind must stay below, from the newcomer's log-in to the link, ms. */
const TARGETS_MS: Readonly<Record<Kind, number>> = { direct: 1_000, relayed: 2_000, "udp-blocked": 4_000 };
/** How many exchanges a link takes one after the other: signals, gathering, ICE, DTLS, SCTP, admission. Each adds the delay of the line. */
const EXCHANGES = 10;
/** With loss each link must be there within this, ms. */
const LOSS_TARGET_MS = 15_000;

/** Every pair of NATs is linked on the path that theory allows, soon, and knows why. `delayMs`: of a line there and back. */
export function matrixLimits(title: string, results: readonly CellResult[], delayMs = 0): Limit[] {
  if (results.length === 0) return [];
  return [
    eachOnItsPath(title, results),
    ...medians(title, results, EXCHANGES * delayMs),
    ...whyIsRight(title, results),
  ];
}

/** What a stack does by itself is as quick and as true; what it cannot, `auto` can. `covering`: what auto does in the cells of `alone`. */
export function aloneLimits(alone: readonly CellResult[], covering: readonly CellResult[]): Limit[] {
  return stacksOf(alone).flatMap((stack) => {
    const own = alone.filter((result) => result.stack === stack);
    const able = own.filter(({ failure }) => failure === null);
    const unable = own.filter(({ failure }) => failure !== null).map(({ cell }) => cell);
    const isCovered = (cell: string): boolean => {
      const found = covering.filter((result) => result.cell === cell);
      return found.length > 0 && found.every(({ failure }) => failure === null);
    };
    const covered = unable.filter(isCovered).length;
    const left = {
      what: `${stack} alone: cells that it cannot do, auto does`,
      asked: `${unable.length} of ${unable.length}`,
      measured: `${covered}${unable.length === 0 ? "" : `: ${unable.join(", ")}`}`,
      ok: covered === unable.length,
    };
    return [left, ...medians(`${stack} alone`, able), ...whyIsRight(`${stack} alone`, able)];
  });
}

/** With packets lost every pair is linked in time. */
export function lossLimits(title: string, results: readonly CellResult[]): Limit[] {
  if (results.length === 0) return [];
  const inTime = results.filter(
    ({ failure, connectMs }) => failure === null && connectMs !== null && connectMs <= LOSS_TARGET_MS,
  );
  return [
    {
      what: `${title}: linked within ${LOSS_TARGET_MS / 1_000} s`,
      asked: `${results.length} of ${results.length}`,
      measured: `${inTime.length}, worst ${worstOf(results) ?? "-"} ms`,
      ok: inTime.length === results.length,
    },
  ];
}

/** Messages flow again soon after each change, each once and in order; where the direct path is free again it is taken. */
export function liveLimits(title: string, results: readonly LiveResult[]): Limit[] {
  return results.flatMap((result) => {
    const { recoveryMs, pathMs, failure, fault, isToClimb } = result;
    const change = `${title}, ${result.change}`;
    const total = result.sent.reduce((sum, count) => sum + count, 0);
    const rows: Limit[] = [
      {
        what: `${change}: flows again`,
        asked: `<= ${RECOVERY_MS} ms`,
        measured: recoveryMs === null ? (failure ?? "not measured") : `${recoveryMs} ms`,
        ok: recoveryMs !== null && recoveryMs <= RECOVERY_MS,
      },
      {
        what: `${change}: lost, doubled or out of order`,
        asked: "none",
        measured: fault ?? `none of ${total}`,
        ok: fault === null,
      },
    ];
    if (isToClimb)
      rows.push({
        what: `${change}: is taken`,
        asked: `<= ${CLIMB_MS} ms`,
        measured: pathMs === null ? "not" : `${pathMs} ms`,
        ok: pathMs !== null && pathMs <= CLIMB_MS,
      });
    return rows;
  });
}

function eachOnItsPath(title: string, results: readonly CellResult[]): Limit {
  const good = results.filter(({ failure }) => failure === null).length;
  return {
    what: `${title}: linked on the path that theory allows`,
    asked: `${results.length} of ${results.length}`,
    measured: `${good}`,
    ok: good === results.length,
  };
}

function medians(title: string, results: readonly CellResult[], allowanceMs = 0): Limit[] {
  return (Object.keys(TARGETS_MS) as Kind[]).flatMap((kind) => {
    const times = timesOf(results.filter((result) => result.kind === kind));
    const p50Ms = times[Math.ceil(times.length / 2) - 1];
    if (p50Ms === undefined) return [];
    const targetMs = TARGETS_MS[kind] + allowanceMs;
    return {
      what: `${title}: ${kind}, p50 of ${times.length}`,
      asked: `<= ${targetMs} ms`,
      measured: `${p50Ms} ms, worst ${times.at(-1)} ms`,
      ok: p50Ms <= targetMs,
    };
  });
}

function whyIsRight(title: string, results: readonly CellResult[]): Limit[] {
  const asked = results.filter(({ why }) => why !== null);
  if (asked.length === 0) return [];
  const right = asked.filter(({ why }) => why === RIGHT).length;
  const limit = {
    what: `${title}: why is right`,
    asked: `${asked.length} of ${asked.length}`,
    measured: `${right}`,
    ok: right === asked.length,
  };
  return [limit];
}

function worstOf(results: readonly CellResult[]): number | undefined {
  return timesOf(results).at(-1);
}

function timesOf(results: readonly CellResult[]): number[] {
  return results.flatMap(({ connectMs }) => (connectMs === null ? [] : [connectMs])).sort((a, b) => a - b);
}

function stacksOf(results: readonly CellResult[]): StackWord[] {
  return [...new Set(results.map(({ stack }) => stack))];
}
