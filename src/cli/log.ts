import { destination, pino } from "pino";
import type { Logger, Settings } from "../options.ts";

/** Log lines on stderr: plain for a person at a terminal, JSON elsewhere. Fields hold no secrets by their types. */
export function commandLogger(level: Settings["log"]): Logger {
  if (level === "silent") return { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ dest: 2, sync: true }),
  );
  const at =
    (severity: "debug" | "info" | "warn" | "error") =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (!log.isLevelEnabled(severity)) return;
      if (!process.stderr.isTTY) log[severity](fields, message);
      else process.stderr.write(`${severity.padEnd(5)} ${message}${plain(fields)}\n`);
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function ignore(): void {}

function plain(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `  ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("");
}
