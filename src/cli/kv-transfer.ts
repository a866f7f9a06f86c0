import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Command } from "commander";
import { z } from "zod";
import { StarlingError } from "../errors.ts";
import { addStateFlag, ask } from "./flags.ts";
import type { WireEntry } from "./kv.ts";
import { print, printJson, say } from "./output.ts";

/** Lines handed over at a time, and their characters: below what one line of the control socket may be. */
const LINES_AT_ONCE = 512;
const CHARACTERS_AT_ONCE = 1_048_576;

const lineSchema = z.union([
  z.strictObject({ key: z.string().min(1), base64: z.base64() }),
  z.strictObject({ key: z.string().min(1), value: z.string() }),
]);

/** `starling kv export` and `kv import`: a bucket as JSON lines, `{"key","value"}` for text and `{"key","base64"}` for other bytes. */
export function transferCommands(kv: Command): void {
  addStateFlag(kv.command("export [prefix]").description("print a bucket as JSON lines"))
    .option("--bucket <name>", "bucket", "default")
    .option(
      "--set-aside",
      "print instead what was written here while this agent was away for too long, and is in no bucket",
    )
    .action(async (prefix: string | undefined, flags: { bucket: string; setAside?: boolean }, command: Command) => {
      const { bucket, setAside } = flags;
      await ask(
        command,
        "kv.export",
        { bucket, prefix, setAside },
        { onEvent: (event) => print(exported(event as WireEntry)) },
      );
    });

  addStateFlag(
    kv.command("import [file]").description("write the keys of JSON lines, as export prints them; - is stdin"),
  )
    .option("--bucket <name>", "bucket", "default")
    .option("--json", "print JSON")
    .action(async (file: string | undefined, flags: { bucket: string; json?: boolean }, command: Command) => {
      const { bucket, json } = flags;
      let keys = 0;
      for await (const writes of readLines(file)) {
        await ask(command, "kv.putMany", { bucket, writes });
        keys += writes.length;
      }
      if (json) printJson({ keys });
      else say(`${keys} keys are written to ${bucket}`);
    });
}

function exported({ key, value }: WireEntry): string {
  const bytes = Buffer.from(value ?? "", "base64");
  const text = bytes.toString("utf8");
  return JSON.stringify(Buffer.from(text).equals(bytes) ? { key, value: text } : { key, base64: value });
}

type Write = readonly [key: string, value: string];

async function* readLines(file: string | undefined): AsyncGenerator<readonly Write[]> {
  const input = file === undefined || file === "-" ? process.stdin : createReadStream(file);
  let writes: Write[] = [];
  let characters = 0;
  let number = 0;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++;
    if (line.trim() === "") continue;
    const write = parseLine(line, number);
    if (writes.length === LINES_AT_ONCE || (writes.length > 0 && characters + line.length > CHARACTERS_AT_ONCE)) {
      yield writes;
      writes = [];
      characters = 0;
    }
    writes.push(write);
    characters += line.length;
  }
  if (writes.length > 0) yield writes;
}

function parseLine(line: string, number: number): Write {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    parsed = undefined;
  }
  const result = lineSchema.safeParse(parsed);
  if (!result.success) {
    const message = `line ${number} is not {"key","value"} or {"key","base64"}; the lines before it are written`;
    throw new StarlingError("usage", message);
  }
  const { key } = result.data;
  return [key, "base64" in result.data ? result.data.base64 : Buffer.from(result.data.value).toString("base64")];
}
