/** Control commands of those who administer a cluster: revocations, and the members' secrets. */
import { z } from "zod";
import type { Rekeying } from "../agent/administration.ts";
import type { Agent } from "../agent.ts";
import type { ControlHandler } from "../drivers/control.ts";
import { parseTarget } from "../proto/decrees/revocation.ts";
import { checked } from "./checked.ts";
import { resolvePeer } from "./resolve-peer.ts";

/** The longest that a former issuing key may count, ms: the longest life of a token. */
const MAX_OVERLAP_MS = 366 * 86_400_000;

const keyFile = z.string().min(1).optional();
const name = z.string().min(1).max(64);
const graceMs = z.number().min(0).optional();

const change = z.discriminatedUnion("what", [
  z.strictObject({ what: z.enum(["cluster", "gossip", "both"]), graceMs }),
  z.strictObject({ what: z.literal("install"), key: z.base64().optional() }),
  z.strictObject({ what: z.enum(["use", "remove"]), name }),
]);

const file = z.string().min(1).max(4_096);
const waitMs = z.number().min(0).max(86_400_000);
const rotation = z.discriminatedUnion("what", [
  z.strictObject({ what: z.literal("root"), rootKeyFile: file, waitMs }),
  z.strictObject({
    what: z.literal("issuing"),
    keyFile: file,
    rootKeyFile: file,
    waitMs,
    overlapMs: z.number().min(0).max(MAX_OVERLAP_MS).optional(),
  }),
  z.strictObject({ what: z.literal("node") }),
  z.strictObject({ what: z.literal("rest") }),
  z.strictObject({ what: z.literal("turn"), graceMs }),
]);

/**
 * The handlers of `token.revoke`, `token.rotate`, `keys.change`, `keys.rotate` and `keys.list`. `restart`: the agent is to leave and to
 * be started again.
 */
export function administrationHandlers(agent: Agent, restart: () => void): [string, ControlHandler][] {
  const signWith = (file: string | undefined) => (file === undefined ? {} : { keyFile: file });
  return [
    [
      "token.revoke",
      checked(z.strictObject({ target: name, keyFile, rekey: z.boolean().optional() }), async (input) => {
        const options = { ...signWith(input.keyFile), ...(input.rekey !== undefined && { rekey: input.rekey }) };
        const target = parseTarget(input.target) === undefined ? resolvePeer(agent, input.target) : input.target;
        return { target, revoked: await agent.administration.revoke(target, options) };
      }),
    ],
    [
      "token.rotate",
      async () => {
        const { id, expiresAt } = await agent.rotateToken();
        return { id, expiresAt: expiresAt.toISOString() };
      },
    ],
    [
      "keys.change",
      checked(z.strictObject({ change, keyFile }), async (input) => {
        const { change } = input;
        const key = "key" in change && change.key !== undefined ? { key: Buffer.from(change.key, "base64") } : {};
        const epoch = await agent.administration.rekey({ ...change, ...key } as Rekeying, signWith(input.keyFile));
        return { epoch };
      }),
    ],
    [
      "keys.rotate",
      checked(rotation, async (input, emit) => {
        const progress = (line: string): void => emit({ progress: line });
        switch (input.what) {
          case "root":
            return agent.rotations.root(input.rootKeyFile, { progress, waitMs: input.waitMs });
          case "issuing": {
            const { keyFile, rootKeyFile, waitMs, overlapMs } = input;
            const options = { progress, waitMs, ...(overlapMs !== undefined && { overlapMs }) };
            const { kid, former, endsAt } = await agent.rotations.issuing(keyFile, rootKeyFile, options);
            return { kid, former, ...(endsAt !== undefined && { endsAt: new Date(endsAt).toISOString() }) };
          }
          case "node": {
            const heir = await agent.rotations.node();
            restart();
            return heir;
          }
          case "rest":
            return { rows: await agent.rotations.rest({ progress }) };
          case "turn":
            agent.rotations.relay(input.graceMs);
            return {};
        }
      }),
    ],
    ["keys.list", async () => agent.administration.keys()],
  ];
}
