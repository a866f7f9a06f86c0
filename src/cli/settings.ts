/**
 * Settings from four places: flag > environment (`STARLING_…`) > file > default. Every value remembers where it came from,
 * so that `config show` can say so and an error can point at the right place.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { StarlingError } from "../errors.ts";
import { defaultSettings, defaultStateDirectory, type Settings, settingsSchema } from "../options.ts";
import type { Roles } from "../proto/trust/roles.ts";
import { parseYaml } from "./yaml.ts";

export type Origin = "flag" | "environment" | "file" | "default";

export interface ResolvedSettings {
  readonly values: Settings;
  readonly origins: Readonly<Record<keyof Settings, Origin>>;
  readonly stateDirectory: string;
  /** The file that was read; undefined when there is none. */
  readonly file: string | undefined;
}

/** Flags as the command line gives them; absent ones undefined. */
export interface SettingFlags {
  readonly state?: string;
  readonly config?: string;
  readonly name?: string;
  readonly label?: readonly string[];
  readonly signaling?: readonly string[];
  readonly rtc?: string;
  readonly log?: string;
  readonly loopback?: boolean;
  readonly metrics?: string;
  readonly signalingCa?: string;
  readonly signalingCert?: string;
  readonly signalingKey?: string;
  readonly skipInterface?: readonly string[];
  readonly portRange?: string;
  readonly announce?: readonly string[];
  readonly localNames?: boolean;
  readonly store?: string;
}

const FROM_ENVIRONMENT: Readonly<Record<string, (text: string) => Partial<Record<keyof Settings, unknown>>>> = {
  STARLING_NAME: (text) => ({ name: text }),
  STARLING_LABELS: (text) => ({ labels: parseLabels(text.split(",").filter((label) => label !== "")) }),
  STARLING_SIGNALING: (text) => ({ signaling: text.split(",") }),
  STARLING_RTC: (text) => ({ rtc: text }),
  STARLING_LOOPBACK: (text) => ({ loopback: text === "auto" ? "auto" : parseBoolean("STARLING_LOOPBACK", text) }),
  STARLING_SKIP_INTERFACES: (text) => ({ skipInterfaces: text === "none" ? [] : text.split(",") }),
  STARLING_PORT_RANGE: (text) => ({ portRange: parsePortRange(text) }),
  STARLING_ANNOUNCE: (text) => ({ announce: text.split(",") }),
  STARLING_LOCAL_NAMES: (text) => ({ localNames: parseBoolean("STARLING_LOCAL_NAMES", text) }),
  STARLING_STORE: (text) => ({ store: text }),
  STARLING_LOG: (text) => ({ log: text }),
  STARLING_METRICS: (text) => ({ metrics: text }),
};

/** The state directory: flag > `STARLING_STATE` > XDG. Absolute, so that one folder has one control socket. */
export function resolveStateDirectory(flag: string | undefined): string {
  return resolve(flag ?? process.env["STARLING_STATE"] ?? defaultStateDirectory());
}

/** Puts the four sources together; throws `config-invalid` or `usage` naming the source and the setting. */
export function resolveSettings(flags: SettingFlags): ResolvedSettings {
  const stateDirectory = resolveStateDirectory(flags.state);
  const { file, values: fromFile } = readSettingsFile(flags.config, stateDirectory);
  const sources: readonly [Origin, Partial<Settings>][] = [
    ["file", fromFile],
    ["environment", check(readEnvironment(), "the environment")],
    ["flag", check(readFlags(flags), "the command line")],
  ];
  const values: Record<string, unknown> = { ...defaultSettings() };
  const origins: Record<string, Origin> = Object.fromEntries(Object.keys(values).map((key) => [key, "default"]));
  for (const [origin, source] of sources) {
    for (const [key, value] of Object.entries(source)) {
      if (value === undefined) continue;
      values[key] = value;
      origins[key] = origin;
    }
  }
  return {
    values: settingsSchema.parse(values),
    origins: origins as Record<keyof Settings, Origin>,
    stateDirectory,
    file,
  };
}

function readEnvironment(): Partial<Record<keyof Settings, unknown>> {
  const values: Partial<Record<keyof Settings, unknown>> = {};
  for (const [name, read] of Object.entries(FROM_ENVIRONMENT)) {
    const text = process.env[name];
    if (text !== undefined && text !== "") Object.assign(values, read(text));
  }
  return values;
}

function readFlags(flags: SettingFlags): Partial<Record<keyof Settings, unknown>> {
  return {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.label?.length && { labels: parseLabels(flags.label) }),
    ...(flags.signaling?.length && { signaling: flags.signaling }),
    ...(flags.rtc !== undefined && { rtc: flags.rtc }),
    ...(flags.log !== undefined && { log: flags.log }),
    ...(flags.loopback !== undefined && { loopback: flags.loopback }),
    ...(tlsOf(flags) && { signalingTls: tlsOf(flags) }),
    ...(flags.metrics !== undefined && { metrics: flags.metrics }),
    ...(flags.skipInterface !== undefined && { skipInterfaces: flags.skipInterface.filter((name) => name !== "none") }),
    ...(flags.portRange !== undefined && { portRange: parsePortRange(flags.portRange) }),
    ...(flags.announce?.length && { announce: flags.announce }),
    ...(flags.localNames !== undefined && { localNames: flags.localNames }),
    ...(flags.store !== undefined && { store: flags.store }),
  };
}

function tlsOf({ signalingCa: ca, signalingCert: cert, signalingKey: key }: SettingFlags): object | undefined {
  const given = Object.entries({ ca, cert, key }).filter(([, file]) => file !== undefined);
  return given.length > 0 ? Object.fromEntries(given) : undefined;
}

/** Parses `key=value` pairs. */
function parseLabels(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf("=");
      if (equals < 1) throw new StarlingError("usage", `label ${JSON.stringify(pair)} must look like key=value`);
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}

/** `50000-50100`. */
function parsePortRange(text: string): number[] {
  const [, first, last] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? [];
  if (first === undefined || last === undefined)
    throw new StarlingError("usage", `port range ${JSON.stringify(text)} must look like 50000-50100`);
  return [Number(first), Number(last)];
}

function parseBoolean(name: string, text: string): boolean {
  if (/^(1|true|yes)$/i.test(text)) return true;
  if (/^(0|false|no)$/i.test(text)) return false;
  throw new StarlingError("usage", `${name} must be true or false, not ${JSON.stringify(text)}`);
}

/** The roles of one's own that a configuration file names. */
export function ownRoles({ roles = {} }: Pick<Partial<Settings>, "roles">): Roles {
  return new Map(Object.entries(roles));
}

/** Reads and checks the configuration file: the one named, else `STARLING_CONFIG`, else `config.yaml` in the state directory. */
export function readSettingsFile(
  named: string | undefined,
  stateDirectory: string,
): { file: string | undefined; values: Partial<Settings> } {
  const explicit = named ?? process.env["STARLING_CONFIG"];
  const file = explicit ?? join(stateDirectory, "config.yaml");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if (explicit === undefined) return { file: undefined, values: {} };
    throw new StarlingError("config-invalid", `cannot read the configuration file ${file}`, { cause });
  }
  return { file, values: parseSettings(text, file) };
}

const someSettings = settingsSchema.partial();

/** The settings that a configuration file says. `source`: how errors call it. Throws `config-invalid`. */
export function parseSettings(text: string, source: string): Partial<Settings> {
  return check(parseYaml(text, source) ?? {}, source);
}

function check(values: unknown, source: string): Partial<Settings> {
  const result = someSettings.safeParse(values);
  if (result.success) return withoutUndefined(result.data);
  const issue = result.error.issues[0];
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const detail =
    unknown === undefined
      ? `${issue?.path.join(".") || "the whole"}: ${issue?.message}`
      : `unknown setting ${JSON.stringify(unknown)}${suggestion(unknown)}`;
  throw new StarlingError("config-invalid", `${source}: ${detail}`);
}

function withoutUndefined(values: Partial<Record<keyof Settings, unknown>>): Partial<Settings> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function suggestion(unknown: string): string {
  const known = Object.keys(settingsSchema.shape);
  const near = known
    .map((name) => ({ name, distance: editDistance(unknown.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  if (near && near.distance <= Math.max(2, near.name.length / 3)) return `; did you mean ${JSON.stringify(near.name)}?`;
  return `; known are ${known.join(", ")}`;
}

// Levenshtein, on names of a dozen letters.
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
