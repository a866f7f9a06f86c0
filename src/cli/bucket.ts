import type { Command } from "commander";
import { StarlingError } from "../errors.ts";
import type { BucketStatus } from "../status.ts";
import { addStateFlag, ask } from "./flags.ts";
import { parseCount, parseDuration, print, printJson, table } from "./output.ts";

/** A policy as the control socket carries it and `--json` prints it; null: the default. */
export interface WirePolicy {
  readonly name: string;
  readonly replicas: "all" | number;
  readonly ttlMs: number | null;
  readonly retentionMs: number | null;
  readonly maxKeys: number | null;
  readonly maxBytes: number | null;
}

interface PolicyFlags {
  readonly replicas?: string;
  readonly ttl?: string;
  readonly retention?: string;
  readonly maxKeys?: string;
  readonly maxBytes?: string;
  readonly json?: boolean;
}

/** `starling bucket create | list | show | set | drop`: what is agreed about buckets. */
export function bucketCommand(program: Command): void {
  const bucket = program
    .command("bucket")
    .description("say how many copies a bucket has, how long values live, how large it is");
  const sub = (name: string, description: string): Command =>
    addStateFlag(bucket.command(name).description(description)).option("--json", "print JSON");
  const policy = (command: Command): Command =>
    command
      .option("--replicas <n>", "copies of each key: all, or 2 to 16")
      .option("--ttl <duration>", "values go so long after they were written; none: they stay")
      .option("--retention <duration>", "how long deletions are remembered; none: a day")
      .option("--max-keys <n>", "keys on one member at most; none: no bound of its own")
      .option("--max-bytes <n>", "bytes on one member at most; none: no bound of its own");

  for (const [name, description] of [
    ["create <name>", "agree about a bucket that nothing was agreed about yet"],
    ["set <name>", "change what is agreed; what is not named stays"],
  ] as const) {
    policy(sub(name, description)).action(async (bucket: string, flags: PolicyFlags, command: Command) => {
      const isNew = name.startsWith("create");
      const result = (await ask(command, "bucket.set", { bucket, isNew, ...changeOf(flags) })) as WirePolicy;
      if (flags.json) printJson(result);
    });
  }

  sub("show <name>", "print what is agreed about a bucket").action(
    async (name: string, flags: PolicyFlags, command: Command) => {
      const found = (await ask(command, "bucket.show", { bucket: name })) as WirePolicy;
      if (flags.json) printJson(found);
      else for (const [field, text] of describe(found)) print(`${field.padEnd(10)} ${text}`);
    },
  );

  sub("list", "list the buckets that this agent has something of").action(
    async (flags: PolicyFlags, command: Command) => {
      const buckets = (await ask(command, "bucket.list")) as readonly BucketStatus[];
      if (flags.json) printJson(buckets);
      else {
        const rows = buckets.map(({ name, keys, bytes, replicas }) => [name, `${keys}`, `${bytes}`, `${replicas}`]);
        print(table(["NAME", "KEYS", "BYTES", "REPLICAS"], rows));
      }
    },
  );

  sub(
    "drop <name>",
    "remove all values of a bucket on every member, within two minutes, and what is agreed about it",
  ).action(async (name: string, flags: PolicyFlags, command: Command) => {
    const result = await ask(command, "bucket.drop", { bucket: name });
    if (flags.json) printJson(result);
  });
}

function changeOf(flags: PolicyFlags): Record<string, unknown> {
  const { replicas, ttl, retention, maxKeys, maxBytes } = flags;
  const given: Record<string, unknown> = {};
  if (replicas !== undefined) given["replicas"] = replicas === "all" ? "all" : parseCount(replicas);
  if (ttl !== undefined) given["ttlMs"] = ttl === "none" ? null : parseDuration(ttl);
  if (retention !== undefined) given["retentionMs"] = retention === "none" ? null : parseDuration(retention);
  if (maxKeys !== undefined) given["maxKeys"] = maxKeys === "none" ? null : parseCount(maxKeys);
  if (maxBytes !== undefined) given["maxBytes"] = maxBytes === "none" ? null : parseCount(maxBytes);
  return given;
}

function describe(policy: WirePolicy): (readonly [string, string])[] {
  const { replicas, ttlMs, retentionMs, maxKeys, maxBytes } = policy;
  return [
    ["replicas", `${replicas}`],
    ["ttl", ttlMs === null ? "none" : `${ttlMs / 1_000}s`],
    ["retention", retentionMs === null ? "a day" : `${retentionMs / 1_000}s`],
    ["max keys", maxKeys === null ? "none" : `${maxKeys}`],
    ["max bytes", maxBytes === null ? "none" : `${maxBytes}`],
  ];
}

/** Thrown by `create` for a bucket that something is agreed about. */
export function alreadyAgreed(name: string): StarlingError {
  return new StarlingError(
    "already-exists",
    `something is agreed about bucket ${name}; change it with \`starling bucket set\``,
  );
}
