import type { Instant } from "../machine.ts";
import { KEY_NOTICE_MS } from "../trust/key-end.ts";
import type { AlertRule } from "./alert-rules.ts";

/** What the rules of an agent look at. */
export interface AgentView {
  /** When the member token expires; undefined before one is held. */
  readonly tokenExpiresAt: Instant | undefined;
  /** When the issuing key ends that matters here; undefined where all are revoked. */
  readonly issuingKeyEndsAt: Instant | undefined;
  readonly members: { readonly alive: number; readonly suspect: number; readonly down: number };
  readonly links: number;
  /** The largest difference of a server's clock from ours, ms, with its sign. */
  readonly skewMs: number;
  /** Peers that were not admitted, since the start. */
  readonly denied: number;
  /** Copies of the audit log that are wanted and not there. */
  readonly copiesMissing: number;
  /** Audit logs of others that were not those whose copies are kept here, since the start. */
  readonly auditForks: number;
}

const MINUTE = 60_000;

/** What an operator is told of an agent. */
export const AGENT_ALERTS: readonly AlertRule<AgentView>[] = [
  {
    name: "StarlingTokenExpiresSoon",
    holds: ({ tokenExpiresAt }, now) => tokenExpiresAt !== undefined && tokenExpiresAt - now < 4 * 60 * MINUTE,
    forMs: 10 * MINUTE,
    summary:
      "The member token ends within four hours and nobody has renewed it: start an issuer; renewal follows by itself.",
  },
  {
    name: "StarlingIssuingKeyExpiresSoon",
    holds: ({ issuingKeyEndsAt }, now) => issuingKeyEndsAt !== undefined && issuingKeyEndsAt - now < KEY_NOTICE_MS,
    forMs: 10 * MINUTE,
    summary: "An issuing key ends within a month, and tokens with it: `starling keys rotate --what issuing`.",
  },
  {
    name: "StarlingPartitionSuspected",
    holds: ({ members: { alive, suspect, down } }) => suspect + down > 0.3 * (alive + suspect + down),
    forMs: 2 * MINUTE,
    summary: "A third of the members is not reached: compare `starling members` on both sides.",
  },
  {
    name: "StarlingAlone",
    holds: ({ links, members: { alive, suspect, down } }) => links === 0 && alive + suspect + down > 1,
    forMs: 2 * MINUTE,
    summary: "There are members and no link to any: run `starling netcheck`.",
  },
  {
    name: "StarlingClockSkew",
    holds: ({ skewMs }) => Math.abs(skewMs) > 20_000,
    forMs: 5 * MINUTE,
    summary: "The clock differs from the server's by more than 20 s; at 60 s tokens fail: let NTP set it.",
  },
  {
    name: "StarlingRepeatedAuthFailures",
    count: ({ denied }) => denied,
    above: 20,
    forMs: 0,
    summary: "Somebody keeps trying to get in: read the `denied` lines of the audit log.",
  },
  {
    name: "StarlingAuditNotCopied",
    holds: ({ copiesMissing }) => copiesMissing > 0,
    forMs: 15 * MINUTE,
    summary: "Fewer members than wanted keep a copy of the audit log: start others with --keep-audit.",
  },
  {
    name: "StarlingAuditForked",
    count: ({ auditForks }) => auditForks,
    above: 0,
    forMs: 0,
    summary: "A member's audit log was written anew or put back: compare it with the copy here, and ask its owner.",
  },
];
