import type { Limit } from "./limits.ts";
import type { LiveResult } from "./live.ts";
import { type CellResult, RIGHT } from "./run-cell.ts";

/** The lab's results in lines of text. */

/** One line for a cell. */
export function lineOf(result: CellResult): string {
  const { cell, stack, expected, path, connectMs, settleMs, rtc, local, remote, why, failure } = result;
  const time = connectMs === null ? "-" : `${connectMs} ms`;
  const settled = settleMs === null || settleMs < 100 ? "" : ` +${settleMs}`;
  const isRight = failure === null && (why === null || why === RIGHT);
  const columns = [
    mark(isRight),
    stack.padEnd(6),
    cell.padEnd(33),
    `${expected} `.padEnd(9),
    path.padEnd(8),
    `${time}${settled}`.padEnd(14),
    (rtc ?? "-").padEnd(6),
    local && remote ? `${local} - ${remote}` : "",
    failure ?? (why === RIGHT ? "" : (why ?? "")),
  ];
  return columns.join("  ").trimEnd();
}

/** One line for a live change. */
export function liveLine({ change, stack, recoveryMs, pathMs, sent, received, failure }: LiveResult): string {
  const columns = [
    mark(failure === null),
    stack.padEnd(6),
    change.padEnd(33),
    `flows after ${recoveryMs ?? "-"} ms`.padEnd(22),
    pathMs === null ? "" : `path after ${pathMs} ms`,
    `received ${received.join(" + ") || "-"} of ${sent.toReversed().join(" + ") || "-"}`,
    failure ?? "",
  ];
  return columns.join("  ").trimEnd();
}

/** The table of all limits. */
export function limitTable(limits: readonly Limit[]): string {
  const width = (texts: readonly string[]): number => Math.max(...texts.map(({ length }) => length));
  const [what, asked] = [width(limits.map((limit) => limit.what)), width(limits.map((limit) => limit.asked))];
  const lines = limits.map((limit) =>
    [mark(limit.ok), limit.what.padEnd(what), limit.asked.padEnd(asked), limit.measured].join("  "),
  );
  return lines.join("\n");
}

function mark(isOk: boolean): string {
  return (isOk ? "ok" : "FAILED").padEnd(6);
}
