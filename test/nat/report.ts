import type { Kind } from "./cells.ts";
import type { LiveResult } from "./live.ts";
import type { CellResult } from "./run-cell.ts";
import type { StackWord } from "./site.ts";

/** What half of the cells of each kind must stay below, from the log-in to the link, ms. */
const TARGETS_MS: Readonly<Record<Kind, number>> = { direct: 1_000, relayed: 2_000, "udp-blocked": 4_000 };

/** With loss every cell must stay below, ms. */
const LOSS_TARGET_MS = 15_000;

export interface Summary {
  readonly stack: StackWord;
  readonly kind: Kind;
  readonly cells: number;
  readonly failed: number;
  readonly p50Ms: number | null;
  readonly worstMs: number | null;
  readonly targetMs: number;
  readonly ok: boolean;
}

/** One line for each stack and kind of path. `lossy`: packets were lost on purpose. */
export function summarise(results: readonly CellResult[], lossy: boolean): Summary[] {
  const stacks = [...new Set(results.map(({ stack }) => stack))];
  const kinds = Object.keys(TARGETS_MS) as Kind[];
  return stacks.flatMap((stack) =>
    kinds.flatMap((kind) => {
      const own = results.filter((result) => result.stack === stack && result.kind === kind);
      return own.length > 0 ? [summaryOf(stack, kind, own, lossy)] : [];
    }),
  );
}

function summaryOf(stack: StackWord, kind: Kind, results: readonly CellResult[], lossy: boolean): Summary {
  const times = results.flatMap(({ connectMs }) => (connectMs === null ? [] : [connectMs])).sort((a, b) => a - b);
  const failed = results.filter(({ failure }) => failure !== null).length;
  const p50Ms = times[Math.ceil(times.length / 2) - 1] ?? null;
  const worstMs = times.at(-1) ?? null;
  const [judgedMs, targetMs] = lossy ? [worstMs, LOSS_TARGET_MS] : [p50Ms, TARGETS_MS[kind]];
  return {
    stack,
    kind,
    cells: results.length,
    failed,
    p50Ms,
    worstMs,
    targetMs,
    ok: failed === 0 && judgedMs !== null && judgedMs <= targetMs,
  };
}

/** One line of the table. */
export function lineOf(result: CellResult): string {
  const { cell, stack, expected, path, connectMs, settleMs, rtc, local, remote, failure } = result;
  const time = connectMs === null ? "-" : `${connectMs} ms`;
  const settled = settleMs === null || settleMs < 100 ? "" : ` +${settleMs}`;
  const columns = [
    (failure === null ? "ok" : "FAILED").padEnd(6),
    stack.padEnd(6),
    cell.padEnd(33),
    `${expected} `.padEnd(9),
    path.padEnd(8),
    `${time}${settled}`.padEnd(14),
    (rtc ?? "-").padEnd(6),
    local && remote ? `${local} - ${remote}` : "",
    failure ?? "",
  ];
  return columns.join("  ").trimEnd();
}

export function summaryLine({ stack, kind, cells, failed, p50Ms, worstMs, targetMs, ok }: Summary): string {
  const figures = `${cells} cells, ${failed} failed, p50 ${p50Ms ?? "-"} ms, worst ${worstMs ?? "-"} ms, bound ${targetMs} ms`;
  return `${(ok ? "ok" : "FAILED").padEnd(6)}  ${stack.padEnd(6)}  ${kind.padEnd(11)}  ${figures}`;
}

/** One line of the table of live changes. */
export function liveLine({ change, stack, recoveryMs, pathMs, sent, received, failure }: LiveResult): string {
  const columns = [
    (failure === null ? "ok" : "FAILED").padEnd(6),
    stack.padEnd(6),
    change.padEnd(33),
    `flows after ${recoveryMs ?? "-"} ms`.padEnd(22),
    pathMs === null ? "" : `path after ${pathMs} ms`,
    `received ${received.join(" + ") || "-"} of ${sent.toReversed().join(" + ") || "-"}`,
    failure ?? "",
  ];
  return columns.join("  ").trimEnd();
}
