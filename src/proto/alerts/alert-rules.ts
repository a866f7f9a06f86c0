import type { Instant } from "../machine.ts";

/**
 * When an operator is to be told: the rules that `examples/monitoring/alerts.yml` gives to Prometheus, for whoever has none. Those of an agent stand
 * in `agent-alerts.ts`, those of a signaling server in `server-alerts.ts`.
 *
 * Each rule fires when its condition has held for a while and is resolved when it has not held for as long, so that what flickers is told
 * once. What is told names nobody: nothing that a peer chooses gets into a message.
 */
export type AlertRule<View> = {
  /** As in the shipped rules of Prometheus. */
  readonly name: string;
  /** How long it must hold, or not hold, before anything is told, ms. */
  readonly forMs: number;
  /** One sentence, and what to do about it. */
  readonly summary: string;
} & (
  | { readonly holds: (view: View, now: Instant) => boolean }
  /** It holds while the count has risen by more than `above` within {@link COUNT_WINDOW_MS}. */
  | { readonly count: (view: View) => number; readonly above: number }
);

/** Something to tell. */
export interface Alert {
  readonly name: string;
  readonly state: "firing" | "resolved";
  readonly summary: string;
}

/** How far back counts are compared, ms. */
const COUNT_WINDOW_MS = 300_000;
/** Looks that are remembered for it: one in ten seconds. */
const MAX_LOOKS = 32;

interface State {
  firing: boolean;
  /** Since when it is otherwise than was told. */
  changing: Instant | undefined;
  /** The count at some looks of the window, oldest first. */
  readonly counts: { readonly at: Instant; readonly count: number }[];
}

/** Looks at something now and then, and says what has begun and what is over. */
export class AlertRules<View> {
  readonly #rules: readonly (readonly [AlertRule<View>, State])[];

  constructor(rules: readonly AlertRule<View>[]) {
    this.#rules = rules.map((rule) => [rule, { firing: false, changing: undefined, counts: [] }]);
  }

  /** What is to be told after this look. */
  look(view: View, now: Instant): readonly Alert[] {
    return this.#rules.flatMap(([rule, state]) => {
      const holds = "holds" in rule ? rule.holds(view, now) : rise(rule.count(view), state, now) > rule.above;
      return judge(rule, state, holds, now);
    });
  }
}

/** By how much a count has risen within the window; what was before the first look is not counted. */
function rise(count: number, { counts }: State, now: Instant): number {
  counts.push({ at: now, count });
  while (counts.length > MAX_LOOKS || (counts[0] as { at: Instant }).at < now - COUNT_WINDOW_MS) counts.shift();
  return count - (counts[0]?.count ?? count);
}

function judge<View>({ name, forMs, summary }: AlertRule<View>, state: State, holds: boolean, now: Instant): Alert[] {
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
