import type { Instant } from "../machine.ts";

/**
 * When an operator is to be told: the rules that `examples/monitoring/alerts.yml` gives to Prometheus, for whoever has none.
 *
 * Each rule fires when its condition has held for a while and is resolved when it has not held for as long, so that what flickers is told
 * once. What is told names no other member: nothing that a peer chooses gets into a message.
 */

/** What the rules look at. */
export interface AlertView {
  /** When the member token expires; undefined before one is held. */
  readonly tokenExpiresAt: Instant | undefined;
  readonly members: { readonly alive: number; readonly suspect: number; readonly down: number };
  readonly links: number;
  /** The largest difference of a server's clock from ours, ms, with its sign. */
  readonly skewMs: number;
  /** Peers that were not admitted, since the start. */
  readonly denied: number;
}

/** Names of alerts, as in the shipped rules of Prometheus. */
export type AlertName =
  | "StarlingTokenExpiresSoon"
  | "StarlingPartitionSuspected"
  | "StarlingAlone"
  | "StarlingClockSkew"
  | "StarlingRepeatedAuthFailures";

/** Something to tell. */
export interface Alert {
  readonly name: AlertName;
  readonly state: "firing" | "resolved";
  /** One sentence, and what to do about it. */
  readonly summary: string;
}

interface Rule {
  readonly name: AlertName;
  readonly holds: (view: AlertView, past: Past, now: Instant) => boolean;
  /** How long it must hold, or not hold, before anything is told, ms. */
  readonly forMs: number;
  readonly summary: string;
}

interface Past {
  /** `denied` at some looks of the last five minutes, oldest first. */
  readonly denied: { readonly at: Instant; readonly count: number }[];
}

const MINUTE = 60_000;
/** How far back failures are counted, ms, and from how many on they are an alert. */
const DENIED_WINDOW_MS = 5 * MINUTE;
const DENIED_MANY = 20;
/** Looks that are remembered for it: one in ten seconds. */
const MAX_LOOKS = 32;

const RULES: readonly Rule[] = [
  {
    name: "StarlingTokenExpiresSoon",
    holds: ({ tokenExpiresAt }, _past, now) => tokenExpiresAt !== undefined && tokenExpiresAt - now < 4 * 60 * MINUTE,
    forMs: 10 * MINUTE,
    summary:
      "The member token ends within four hours and nobody has renewed it: start an issuer; renewal follows by itself.",
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
    holds: ({ denied }, past) => denied - (past.denied[0]?.count ?? denied) > DENIED_MANY,
    forMs: 0,
    summary: "Somebody keeps trying to get in: read the `denied` lines of the audit log.",
  },
];

/** Looks at an agent now and then, and says what has begun and what is over. */
export class AlertRules {
  readonly #past: Past = { denied: [] };
  readonly #states = new Map<AlertName, { firing: boolean; changing: Instant | undefined }>();

  /** What is to be told after this look. */
  look(view: AlertView, now: Instant): readonly Alert[] {
    const { denied } = this.#past;
    denied.push({ at: now, count: view.denied });
    while (denied.length > MAX_LOOKS || (denied[0] as { at: Instant }).at < now - DENIED_WINDOW_MS) denied.shift();
    return RULES.flatMap((rule) => this.#judge(rule, rule.holds(view, this.#past, now), now));
  }

  #judge({ name, forMs, summary }: Rule, holds: boolean, now: Instant): readonly Alert[] {
    const state = this.#states.get(name) ?? { firing: false, changing: undefined };
    this.#states.set(name, state);
    if (holds === state.firing) {
      state.changing = undefined;
      return [];
    }
    state.changing ??= now;
    if (now - state.changing < forMs) return [];
    state.firing = holds;
    state.changing = undefined;
    return [{ name, state: holds ? "firing" : "resolved", summary }];
  }
}
