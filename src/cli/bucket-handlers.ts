/** What the control socket can ask about buckets. */
import { z } from "zod";
import type { Agent } from "../agent.ts";
import type { ControlHandler } from "../drivers/control.ts";
import type { BucketPolicy } from "../index.ts";
import { alreadyAgreed, type WirePolicy } from "./bucket.ts";
import { checked } from "./checked.ts";

const bucket = z.string().min(1);
const optional = z.number().nullable().exactOptional();
const policySchema = z.strictObject({
  bucket,
  isNew: z.boolean(),
  replicas: z.union([z.literal("all"), z.number()]).exactOptional(),
  ttlMs: optional,
  retentionMs: optional,
  maxKeys: optional,
  maxBytes: optional,
});

/** Where agreements are kept, and how a dropped bucket's values go: like every value whose life is over. */
const POLICIES = "starling.buckets";
const DROPPED = { ttlMs: 60_000, retentionMs: 60_000 };

/** The control commands about buckets of `agent`. */
export function bucketHandlers(agent: Agent): readonly (readonly [string, ControlHandler])[] {
  return [
    ["bucket.list", async () => agent.status().buckets.filter(({ name }) => name !== POLICIES)],
    ["bucket.show", checked(z.strictObject({ bucket }), async (input) => show(agent, input.bucket))],
    [
      "bucket.set",
      checked(policySchema, async ({ bucket: name, isNew, ...change }) => {
        if (isNew && (await agent.bucket(POLICIES).get(name))) throw alreadyAgreed(name);
        const given = Object.entries(change).map(([field, value]) => [field, value ?? undefined]);
        await agent.bucket(name).setPolicy(Object.fromEntries(given) as Partial<BucketPolicy>);
        return show(agent, name);
      }),
    ],
    [
      "bucket.drop",
      checked(z.strictObject({ bucket }), async ({ bucket: name }) => {
        await agent.bucket(name).setPolicy({ replicas: "all", maxKeys: undefined, maxBytes: undefined, ...DROPPED });
        return show(agent, name);
      }),
    ],
  ];
}

function show(agent: Agent, name: string): WirePolicy {
  const { replicas, ttlMs, retentionMs, maxKeys, maxBytes } = agent.bucket(name).policy();
  return {
    name,
    replicas,
    ttlMs: ttlMs ?? null,
    retentionMs: retentionMs ?? null,
    maxKeys: maxKeys ?? null,
    maxBytes: maxBytes ?? null,
  };
}
