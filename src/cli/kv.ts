import type { Command } from "commander";
import { readStdin } from "../drivers/state/stdin.ts";
import { StarlingError } from "../errors.ts";
import { addStateFlag, ask } from "./flags.ts";
import { transferCommands } from "./kv-transfer.ts";
import { parseCount, parseDuration, print, printJson } from "./output.ts";

/** One entry as the control socket carries it; `value` is base64, null for a deletion. */
export interface WireEntry {
  readonly key: string;
  readonly value: string | null;
  readonly version: string;
  readonly author: string;
  /** Of a change that was watched. */
  readonly cursor?: string;
}

interface KvOptions {
  readonly bucket: string;
  readonly json?: boolean;
}

const CONDITION = "only if the key has this version, as --json prints it; none: only if it has no value";

/** `starling kv get | put | delete | list | watch | export | import`: the replicated key-value store. */
export function kvCommand(program: Command): void {
  const kv = program.command("kv").description("read and write the replicated key-value store");
  const sub = (name: string, description: string): Command =>
    addStateFlag(kv.command(name).description(description))
      .option("--bucket <name>", "bucket", "default")
      .option("--json", "print JSON");

  sub("get <key>", "print the value of a key; exit 1 if there is none")
    .option("--consistency <level>", "local: of the nearest replica; quorum: of a majority", "local")
    .action(async (key: string, options: KvOptions & { consistency: string }, command: Command) => {
      const { bucket, consistency } = options;
      const entry = (await ask(command, "kv.get", { bucket, key, consistency })) as WireEntry | null;
      if (!entry)
        throw new StarlingError(
          "not-found",
          `no key ${JSON.stringify(key)} in bucket ${options.bucket}; \`starling kv list\` shows what there is`,
        );
      if (options.json) printJson(readable(entry));
      else writeValue(entry);
    });

  sub("put <key> [value]", "write a value; without one, or with -, it is read from stdin")
    .option(
      "--replicas <n>",
      "members that must have it before the command returns: a number, quorum or all (default: 2, or all if fewer)",
    )
    .option("--timeout <duration>", "how long to wait for them", "10s")
    .option("--if-version <version>", CONDITION)
    .action(async (key: string, value: string | undefined, options: KvOptions & PutOptions, command: Command) => {
      const bytes = value === undefined || value === "-" ? await readStdin() : Buffer.from(value);
      const result = (await ask(command, "kv.put", {
        bucket: options.bucket,
        key,
        value: bytes.toString("base64"),
        timeoutMs: parseDuration(options.timeout),
        ...(options.replicas !== undefined && { replicas: parseReplicas(options.replicas) }),
        ...parseCondition(options.ifVersion),
      })) as PutResult;
      if (options.json) printJson(result);
    });

  sub("delete <key>", "delete a key")
    .option("--if-version <version>", CONDITION)
    .action(async (key: string, options: KvOptions & { ifVersion?: string }, command: Command) => {
      const parameters = { bucket: options.bucket, key, ...parseCondition(options.ifVersion) };
      const result = (await ask(command, "kv.delete", parameters)) as PutResult;
      if (options.json) printJson(result);
    });

  sub("list [prefix]", "list keys in order")
    .option("--start <key>", "begin at this key")
    .option("--end <key>", "end before this key")
    .option("--limit <n>", "at most this many", "1000")
    .action(async (prefix: string | undefined, options: KvOptions & ListFlags, command: Command) => {
      const limit = parseCount(options.limit);
      const entries: WireEntry[] = [];
      const { bucket, start, end } = options;
      const parameters = { bucket, prefix, start, end, limit, values: options.json === true };
      await ask(command, "kv.list", parameters, { onEvent: (event) => entries.push(event as WireEntry) });
      if (options.json) printJson(entries.map(readable));
      else for (const entry of entries) print(entry.key);
    });

  transferCommands(kv);

  sub("watch [prefix]", "print changes as they happen, until interrupted")
    .option("--initial", "print what is there first")
    .option("--cursor <cursor>", "go on after the change that --json printed with this cursor")
    .action(async (prefix: string | undefined, options: KvOptions & WatchFlags, command: Command) => {
      const interrupted = new AbortController();
      process.once("SIGINT", () => interrupted.abort());
      process.once("SIGTERM", () => interrupted.abort());
      const onEvent = (event: unknown): void => {
        const entry = event as WireEntry;
        if (options.json) print(JSON.stringify(readable(entry)));
        else if (entry.value === null) print(`${entry.key} deleted`);
        else print(`${entry.key} = ${Buffer.from(entry.value, "base64").toString("utf8")}`);
      };
      const { bucket, cursor } = options;
      const parameters = { bucket, prefix, initial: options.initial === true, cursor };
      await ask(command, "kv.watch", parameters, { onEvent, signal: interrupted.signal }).catch((error: unknown) => {
        if (!interrupted.signal.aborted) throw error;
      });
    });
}

/** The version as the agent takes it. */
function parseCondition(version: string | undefined): { readonly ifVersion?: string | null } {
  return version === undefined ? {} : { ifVersion: version === "none" || version === "null" ? null : version };
}

function parseReplicas(text: string): number | string {
  return text === "quorum" || text === "all" ? text : parseCount(text);
}

interface ListFlags {
  readonly limit: string;
  readonly start?: string;
  readonly end?: string;
}

interface WatchFlags {
  readonly initial?: boolean;
  readonly cursor?: string;
}

interface PutOptions {
  readonly replicas?: string;
  readonly timeout: string;
  readonly ifVersion?: string;
}

interface PutResult {
  readonly version: string;
  readonly replicas: number;
}

/** Text where the value is text; base64 beside it always. */
function readable(entry: WireEntry) {
  const bytes = entry.value === null ? null : Buffer.from(entry.value, "base64");
  const text = bytes?.toString("utf8");
  const isText = bytes !== null && text !== undefined && Buffer.from(text).equals(bytes);
  return {
    key: entry.key,
    value: isText ? text : null,
    base64: entry.value,
    deleted: entry.value === null,
    version: entry.version,
    author: entry.author,
    ...(entry.cursor !== undefined && { cursor: entry.cursor }),
  };
}

function writeValue(entry: WireEntry): void {
  const bytes = Buffer.from(entry.value ?? "", "base64");
  process.stdout.write(bytes);
  if (process.stdout.isTTY) process.stdout.write("\n");
}
