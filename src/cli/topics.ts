import type { Command } from "commander";
import { readStdin } from "../drivers/state/stdin.ts";
import { addStateFlag, ask } from "./flags.ts";
import { print } from "./output.ts";

/** One message as the control socket carries it; the payload is base64. */
export interface WirePost {
  readonly topic: string;
  readonly from: string;
  readonly publishedAt: string;
  readonly payload: string;
}

/** `starling publish TOPIC [TEXT]`: tells all members. */
export function publishCommand(program: Command): void {
  addStateFlag(
    program.command("publish <topic> [text]").description("tell all members; without a text, or with -, stdin"),
  ).action(async (topic: string, text: string | undefined, _options: unknown, command: Command) => {
    const bytes = text === undefined || text === "-" ? await readStdin() : Buffer.from(text);
    await ask(command, "topic.publish", { topic, payload: bytes.toString("base64") });
  });
}

/** `starling subscribe TOPIC`: prints what is published, until interrupted. */
export function subscribeCommand(program: Command): void {
  addStateFlag(program.command("subscribe <topic>").description("print what is published, until interrupted"))
    .option("--json", "print one JSON object a line")
    .action(async (topic: string, options: { readonly json?: boolean }, command: Command) => {
      const interrupted = new AbortController();
      process.once("SIGINT", () => interrupted.abort());
      process.once("SIGTERM", () => interrupted.abort());
      const onEvent = (event: unknown): void => {
        const post = event as WirePost;
        if (options.json) print(JSON.stringify(readable(post)));
        else print(`${post.from.slice(0, 8)}  ${Buffer.from(post.payload, "base64").toString("utf8")}`);
      };
      await ask(command, "topic.subscribe", { topic }, { onEvent, signal: interrupted.signal }).catch(
        (error: unknown) => {
          if (!interrupted.signal.aborted) throw error;
        },
      );
    });
}

/** Text where the payload is text; base64 beside it always. */
function readable({ topic, from, publishedAt, payload }: WirePost) {
  const bytes = Buffer.from(payload, "base64");
  const text = bytes.toString("utf8");
  return { topic, from, publishedAt, text: Buffer.from(text).equals(bytes) ? text : null, base64: payload };
}
