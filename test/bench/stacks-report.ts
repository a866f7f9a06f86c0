/** One line of the comparison: medians of the rounds. `value` is in `unit`; what else was measured stands beside it. */
export interface Line {
  readonly name: string;
  readonly unit: string;
  readonly ours: Readonly<Record<string, number>>;
  readonly bare: Readonly<Record<string, number>>;
}

/** Whether one promise holds. */
export interface Verdict {
  readonly promise: string;
  readonly measured: number;
  readonly bound: number;
  readonly holds: boolean;
}

/** The least share of the bare stack's figure, by stack and line. */
const SHARES: Readonly<Record<"native" | "werift", Readonly<Record<string, number>>>> = {
  native: { bulk: 0.85, small: 0.85, "10 Mbit/s": 0.8, "100 ms": 0.8 },
  werift: { bulk: 0.9, small: 10, "10 Mbit/s": 0.8, "100 ms": 0.8 },
};

/** The most that a probe under bulk may take beyond the idle round trip at p99, ms. */
const PROBE_MS = 50;

/** Which promises hold. */
export function judge(rtc: "native" | "werift", lines: readonly Line[]): readonly Verdict[] {
  const verdicts: Verdict[] = [];
  for (const { name, ours, bare } of lines) {
    const share = SHARES[rtc][name];
    if (share !== undefined) {
      const measured = (ours["value"] ?? 0) / (bare["value"] ?? 1);
      verdicts.push({ promise: `${name}: share of bare ${rtc}`, measured, bound: share, holds: measured >= share });
    }
    const probe = ours["probeP99Ms"];
    if (probe !== undefined)
      verdicts.push({
        promise: `${name}: probe p99 beyond the round trip, ms`,
        measured: probe,
        bound: PROBE_MS,
        holds: probe <= PROBE_MS,
      });
  }
  return verdicts;
}

/** The table for people. */
export function table(rtc: string, lines: readonly Line[], verdicts: readonly Verdict[]): string {
  const rows = [["", "unit", "ours", `bare ${rtc}`, "ratio", "besides (ours | bare)"]];
  for (const { name, unit, ours, bare } of lines) {
    const ratio = (ours["value"] ?? 0) / (bare["value"] ?? 1);
    rows.push([name, unit, text(ours["value"]), text(bare["value"]), text(ratio), `${rest(ours)} | ${rest(bare)}`]);
  }
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const shown = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const judged = verdicts.map(
    ({ promise, measured, bound, holds }) => `${holds ? "holds" : "FAILS"}  ${promise}: ${text(measured)} (${bound})`,
  );
  return `${[...shown, "", ...judged].join("\n")}\n`;
}

function rest(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .filter(([key]) => key !== "value")
    .map(([key, value]) => `${key} ${text(value)}`)
    .join(" ");
}

function text(value: number | undefined): string {
  if (value === undefined) return "-";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
