/** What the control socket can ask of a running agent: one entry a command, parameters checked at this edge. */
import { z } from "zod";
import type { Entry } from "../agent/bucket.ts";
import type { Agent } from "../agent.ts";
import type { ControlHandler } from "../drivers/control.ts";
import { administrationHandlers } from "./administration-handlers.ts";
import { bucketHandlers } from "./bucket-handlers.ts";
import { checked } from "./checked.ts";
import type { WireEntry } from "./kv.ts";
import { resolvePeer } from "./resolve-peer.ts";
import type { WirePost } from "./topics.ts";

const key = z.string().min(1);
const bucket = z.string().min(1);
const replicas = z.union([z.int().min(1), z.enum(["quorum", "all"])]);
const consistency = z.enum(["local", "quorum"]).default("local");
const ifVersion = z.string().nullable().optional();
const timeoutMs = z.number().positive().max(3_600_000).default(10_000);

/**
 * The control commands of `agent`. `leave` is what `down` does: it resolves when the agent has left. `restart`: it is to leave, and to
 * be started again, once the command is answered. Default: it leaves.
 */
export function controlHandlers(
  agent: Agent,
  leave: () => Promise<void>,
  restart: () => void = () => void leave(),
): Map<string, ControlHandler> {
  return new Map<string, ControlHandler>([
    ...bucketHandlers(agent),
    ["status", async () => agent.status()],
    ["down", leave],
    ["netcheck", async () => agent.netcheck()],
    ...administrationHandlers(agent, restart),
    [
      "why",
      checked(z.strictObject({ peer: z.string() }), async ({ peer }, _emit, signal) =>
        agent.why(resolvePeer(agent, peer), { signal }),
      ),
    ],
    [
      "ping",
      checked(z.strictObject({ peer: z.string(), timeoutMs }), async (input, _emit, signal) => {
        const peer = resolvePeer(agent, input.peer);
        const timeout = AbortSignal.timeout(input.timeoutMs);
        return { peer, ...(await agent.ping(peer, { signal: AbortSignal.any([signal, timeout]) })) };
      }),
    ],
    [
      "topic.publish",
      checked(z.strictObject({ topic: z.string(), payload: z.base64() }), async ({ topic, payload }) =>
        agent.publish(topic, Buffer.from(payload, "base64")),
      ),
    ],
    [
      "topic.subscribe",
      checked(z.strictObject({ topic: z.string() }), async ({ topic }, emit, signal) => {
        for await (const { from, publishedAt, payload } of agent.subscribe(topic, { signal })) {
          const post: WirePost = { topic, from, publishedAt: publishedAt.toISOString(), payload: base64(payload) };
          emit(post);
        }
      }),
    ],
    [
      "kv.get",
      checked(z.strictObject({ bucket, key, consistency }), async ({ bucket, key, consistency }) => {
        const entry = await agent.bucket(bucket).get(key, { consistency });
        return entry ? wireEntry(entry) : null;
      }),
    ],
    [
      "kv.put",
      checked(
        z.strictObject({ bucket, key, value: z.base64(), replicas: replicas.optional(), timeoutMs, ifVersion }),
        async (input, _emit, signal) => {
          const { replicas, timeoutMs, ifVersion } = input;
          const value = Buffer.from(input.value, "base64");
          const options = { timeoutMs, signal, ...defined({ replicas, ifVersion }) };
          return agent.bucket(input.bucket).put(input.key, value, options);
        },
      ),
    ],
    [
      "kv.delete",
      checked(z.strictObject({ bucket, key, timeoutMs, ifVersion }), async (input, _emit, signal) => {
        const { timeoutMs, ifVersion } = input;
        return agent.bucket(input.bucket).delete(input.key, { timeoutMs, signal, ...defined({ ifVersion }) });
      }),
    ],
    [
      "kv.list",
      checked(
        z.strictObject({
          bucket,
          prefix: z.string().optional(),
          start: z.string().optional(),
          end: z.string().optional(),
          limit: z.int().min(1).max(100_000).default(1_000),
          values: z.boolean().default(true),
        }),
        // A line for each entry: together they may be longer than a line may be.
        async (input, emit) => {
          const { bucket, values, ...range } = input;
          const entries = await agent.bucket(bucket).list(defined(range));
          for (const entry of entries) emit(wireEntry(values ? entry : { ...entry, value: undefined }));
          return entries.length;
        },
      ),
    ],
    [
      "kv.watch",
      checked(
        z.strictObject({
          bucket,
          prefix: z.string().optional(),
          initial: z.boolean().default(false),
          cursor: z.string().optional(),
        }),
        async ({ bucket, ...options }, emit, signal) => {
          for await (const entry of agent.bucket(bucket).watch({ ...defined(options), signal })) emit(wireEntry(entry));
        },
      ),
    ],
    [
      "kv.export",
      checked(
        z.strictObject({ bucket, prefix: z.string().optional(), setAside: z.boolean().optional() }),
        async (input, emit) => {
          const { bucket, setAside, ...options } = input;
          if (setAside) {
            for (const entry of agent.setAside(bucket))
              if (entry.key.startsWith(input.prefix ?? "")) emit(wireEntry(entry));
            return;
          }
          let after: string | undefined;
          do {
            const page = await agent.bucket(bucket).page({ ...defined(options), ...defined({ after }) });
            for (const entry of page.entries) emit(wireEntry(entry));
            after = page.next;
          } while (after !== undefined);
        },
      ),
    ],
    [
      "kv.putMany",
      checked(
        z.strictObject({ bucket, writes: z.array(z.tuple([key, z.base64()])).max(4_096), timeoutMs }),
        async (input, _emit, signal) => {
          const writes = input.writes.map(([key, value]): [string, Uint8Array] => [key, Buffer.from(value, "base64")]);
          return agent.bucket(input.bucket).putMany(writes, { timeoutMs: input.timeoutMs, signal });
        },
      ),
    ],
    [
      "backup",
      checked(z.strictObject({ file: z.string().min(1), passphrase: z.string().min(1) }), async (input) => {
        return { rows: await agent.backup(input.file, input.passphrase) };
      }),
    ],
  ]);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function wireEntry(entry: Entry): WireEntry {
  const value = entry.value === undefined ? null : Buffer.from(entry.value).toString("base64");
  return { key: entry.key, value, version: entry.version, author: entry.author, ...defined({ cursor: entry.cursor }) };
}

/** The same without the fields that are undefined. */
function defined<Fields extends object>(fields: Fields): { [Name in keyof Fields]: Exclude<Fields[Name], undefined> } {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [Name in keyof Fields]: Exclude<Fields[Name], undefined> };
}
