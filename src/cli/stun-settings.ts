/**
 * Settings of `starling stun`: flag > environment (`STARLING_STUN_…`) > section `stun` of the configuration file > default. The
 * same name everywhere: `--relay-address`, `STARLING_STUN_RELAY_ADDRESS`, `relayAddress`. Lists are separated by commas in the environment.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { StarlingError } from "../errors.ts";
import { parseDuration } from "./output.ts";
import { parseYaml } from "./yaml.ts";

const list = z.array(z.string().min(1).max(128)).max(64);
const path = z.string().min(1).max(4_096);
const port = z.coerce.number().int().min(1_024).max(65_535);
const count = z.coerce.number().int().min(1).max(1_000_000);
const rate = z.coerce.number().int().min(1_000).max(1e12);

const schema = z
  .strictObject({
    listen: list.min(1),
    tlsListen: list,
    tlsCert: path,
    tlsKey: path,
    alternate: z.string().max(128),
    realm: z.string().min(1).max(128),
    userFile: path,
    secretFile: path,
    relayAddress: list,
    externalAddress: list,
    minPort: port,
    maxPort: port,
    allowPeer: list,
    denyPeer: list,
    maxAllocations: count,
    userAllocations: count,
    maxLifetime: z.string().max(16),
    userBandwidth: rate,
    totalBandwidth: rate,
    log: z.enum(["debug", "info", "warn", "error", "silent"]),
  })
  .partial();

export type StunSettings = z.infer<typeof schema>;

const KEYS = Object.keys(schema.shape) as (keyof StunSettings)[];
const LISTS: ReadonlySet<string> = new Set([
  "listen",
  "tlsListen",
  "relayAddress",
  "externalAddress",
  "allowPeer",
  "denyPeer",
]);

/** Puts the sources together; throws `config-invalid` or `usage` that names the source and the setting. */
export function resolveStunSettings(
  flags: Readonly<Record<string, unknown>>,
  config: string | undefined,
): StunSettings {
  const file = config ?? process.env["STARLING_CONFIG"];
  const given = Object.fromEntries(KEYS.filter((key) => flags[key] !== undefined).map((key) => [key, flags[key]]));
  const settings = {
    ...(file === undefined ? {} : parseStunSection(readText(file), file)),
    ...check(readEnvironment(), "the environment", "config-invalid"),
    ...check(given, "the command line", "usage"),
  };
  if (settings.maxLifetime !== undefined) parseDuration(settings.maxLifetime);
  return settings;
}

/** What the section `stun` of a configuration file says. `source`: how errors call the file. Throws `config-invalid`. */
export function parseStunSection(text: string, source: string): StunSettings {
  const whole = parseYaml(text, source);
  const section = typeof whole === "object" && whole !== null && "stun" in whole ? (whole.stun ?? {}) : {};
  return check(section, `${source}, section stun`, "config-invalid");
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new StarlingError("config-invalid", `cannot read the configuration file ${file}`, { cause });
  }
}

function readEnvironment(): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const key of KEYS) {
    const text = process.env[`STARLING_STUN_${key.replace(/[A-Z]/g, "_$&").toUpperCase()}`];
    if (text !== undefined && text !== "") values[key] = LISTS.has(key) ? text.split(",") : text;
  }
  return values;
}

function check(values: unknown, source: string, code: "config-invalid" | "usage"): StunSettings {
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const detail =
    issue?.code === "unrecognized_keys"
      ? `unknown setting ${JSON.stringify(issue.keys[0])}; known are ${KEYS.join(", ")}`
      : `${issue?.path.join(".") || "the whole"}: ${issue?.message}`;
  throw new StarlingError(code, `${source}: ${detail}`);
}
