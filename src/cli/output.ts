/** How commands speak: data on stdout, everything else on stderr, exit 0 ok, 1 failed, 2 usage. */
import { styleText } from "node:util";
import { StarlingError } from "../errors.ts";

/** One JSON document on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined)}\n`);
}

/** One line of data on stdout. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One line for the person, on stderr. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A warning on stderr. */
export function warn(line: string): void {
  say(`${style("yellow", "warning:", process.stderr)} ${line}`);
}

/** Colours `text` where `stream`, to which it goes, is a terminal and `NO_COLOR` is not set. */
export function style(
  format: Parameters<typeof styleText>[0],
  text: string,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  return styleText(format, text, { stream });
}

/** Prints what went wrong and sets the exit code: 2 for usage, 1 for everything else. Never prints a stack. */
export function fail(error: unknown): void {
  const known = error instanceof StarlingError;
  const message = error instanceof Error ? error.message : String(error);
  say(`${style("red", "starling:", process.stderr)} ${message}`);
  if (!known && process.env["STARLING_DEBUG"] && error instanceof Error) say(String(error.stack));
  process.exitCode = known && error.code === "usage" ? 2 : 1;
}

/**
 * Rows under headings, columns padded to their widest cell. Names and labels come from other members: control characters in
 * them, which a terminal would obey, are shown as `?`.
 */
export function table(headings: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map((cell) => cell.replace(/\p{Cc}/gu, "?")));
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [style("bold", line(headings)), ...rows.map(line)].join("\n");
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Parses `250ms`, `30s`, `5m`, `24h`, `7d` into milliseconds; throws `usage` otherwise. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ""];
  if (!match || unit === undefined) {
    throw new StarlingError("usage", `${JSON.stringify(text)} is not a duration; write for example 30s, 5m, 24h or 7d`);
  }
  return Number(match[1]) * unit;
}

/** Parses a whole number of at least 1; throws `usage` otherwise. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 1) return count;
  throw new StarlingError("usage", `${JSON.stringify(text)} is not a count; write a number of at least 1`);
}

/** Parses `host:port`, IPv6 in brackets; throws `usage` otherwise. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new StarlingError(
      "usage",
      `${JSON.stringify(text)} is not host:port; write for example 0.0.0.0:7700 or [::]:7700`,
    );
  }
  return { host, port };
}

/** Milliseconds for people: `0.4 ms`, `12 ms`, `3.2 s`, `5 min`. */
export function formatMs(ms: number | null): string {
  if (ms === null) return "-";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}
