/**
 * A member in a process of its own, for benches and soaks that kill it: `store-member.ts STATE NAME [INVITE]`. It takes one JSON command
 * a line on standard input and answers each with one line; what writers are told is written synchronously, so that it survives a kill.
 */
import { writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { createInterface } from "node:readline";
import { createAgent } from "../../src/index.ts";
import { type LongestTurn, watchTurns } from "./longest-turn.ts";
import type { MemberCommand } from "./member-process.ts";

const [stateDirectory = "", name = "", invite] = process.argv.slice(2);
const agent = await createAgent({ stateDirectory, name, ...(invite && { invite }) });
flushCompileCache();
let watched: (() => LongestTurn) | undefined;
agent.addEventListener("memberdown", ({ member }) => say({ down: member.name }));

/** Blocks until it is said. */
function say(line: object): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let from = 0; from < bytes.length; ) {
    try {
      from += writeSync(1, bytes, from);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
  }
}

function* numbered(from: number, to: number, value: string): Generator<readonly [string, string]> {
  for (let index = from; index < to; index++) yield [`key ${index}`, value];
}

/** Writes without end, eight at a time, and says what was acknowledged. */
async function write(run: number): Promise<never> {
  const bucket = agent.bucket("soak");
  let next = 0;
  const writer = async (): Promise<never> => {
    for (;;) {
      const key = `${run} ${name} ${next++}`;
      const isHeld = await bucket.put(key, key, { replicas: 2 }).then(
        () => true,
        // Nobody is there to hold it for now.
        () => false,
      );
      if (isHeld) say({ acknowledged: key });
    }
  };
  return Promise.race(Array.from({ length: 8 }, writer));
}

async function run(command: MemberCommand): Promise<unknown> {
  switch (command.do) {
    case "policy":
      return agent.bucket(command.bucket).setPolicy({ replicas: command.replicas });
    case "fill":
      return agent.bucket(command.bucket).putMany(numbered(command.from, command.to, command.value), {
        timeoutMs: 60_000,
      });
    case "write":
      return write(command.run);
    case "keys":
      return (await agent.bucket(command.bucket).list({ limit: Number.POSITIVE_INFINITY })).map(({ key }) => key);
    case "watch":
      watched = watchTurns();
      return undefined;
    case "watched":
      return watched?.();
    case "status": {
      const { links, buckets, members } = agent.status();
      return {
        bytes: links.reduce((sum, { rxBytes, txBytes }) => sum + rxBytes + txBytes, 0),
        links: links.length,
        alive: members.filter(({ state }) => state === "alive").length,
        keys: Object.fromEntries(buckets.map(({ name: bucket, keys }) => [bucket, keys])),
        digests: Object.fromEntries(buckets.map(({ name: bucket, digest }) => [bucket, digest])),
      };
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as MemberCommand;
  run(command).then(
    (result) => say({ answer: command.id, result }),
    (error: unknown) => say({ answer: command.id, error: String(error) }),
  );
}
await agent[Symbol.asyncDispose]();
