/** Control commands of those who administer a cluster: revocations, and the members' secrets. */
import { z } from "zod";
import type { Rekeying } from "../agent/administration.ts";
import type { Agent } from "../agent.ts";
import type { ControlHandler } from "../drivers/control.ts";
import { parseTarget } from "../proto/decrees/revocation.ts";
import { checked } from "./checked.ts";
import { resolvePeer } from "./resolve-peer.ts";

const keyFile = z.string().min(1).optional();
const name = z.string().min(1).max(64);
const graceMs = z.number().min(0).optional();

const change = z.discriminatedUnion("what", [
  z.strictObject({ what: z.enum(["cluster", "gossip", "both"]), graceMs }),
  z.strictObject({ what: z.literal("install"), key: z.base64().optional() }),
  z.strictObject({ what: z.enum(["use", "remove"]), name }),
]);

/** The handlers of `token.revoke`, `keys.change` and `keys.list`. */
export function administrationHandlers(agent: Agent): [string, ControlHandler][] {
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
      "keys.change",
      checked(z.strictObject({ change, keyFile }), async (input) => {
        const { change } = input;
        const key = "key" in change && change.key !== undefined ? { key: Buffer.from(change.key, "base64") } : {};
        const epoch = await agent.administration.rekey({ ...change, ...key } as Rekeying, signWith(input.keyFile));
        return { epoch };
      }),
    ],
    ["keys.list", async () => agent.administration.keys()],
  ];
}
