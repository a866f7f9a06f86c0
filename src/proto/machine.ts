/**
 * The one shape of every protocol in Starling.
 *
 * A machine owns no socket, no timer, no clock and no source of randomness. It is told what happened and when, and
 * answers with what is to be done, in order. A driver (a few lines) carries the effects out. The same machine therefore
 * runs in the agent, in a browser and in a simulator that replays a run from its seed.
 *
 * Rules that all machines keep:
 * - `handle` never throws on anything a peer can send: misbehaviour is an output. It asserts on misuse by its driver.
 * - Every output of one input is returned before the next input is applied: no hidden queue waits for a later call.
 * - Expensive or asynchronous work (signatures, disk) is an output whose answer comes back as an input.
 */

/**
 * Milliseconds since the Unix epoch, fractions allowed, as the driver's clock measures them. It never goes back within
 * a process; it jumps ahead when the machine wakes from sleep.
 */
export type Instant = number;

/** A deterministic state machine: effects out, never performed. */
export interface Machine<Input, Output> {
  /** Applies one input and returns every effect it causes, in order. */
  handle(input: Input, now: Instant): readonly Output[];
  /** The next instant at which the machine wants `{ type: "timeout" }`; undefined when nothing is pending. */
  deadline(): Instant | undefined;
}

/**
 * The shared empty answer: most inputs cause nothing, and this costs no allocation. It is not frozen, which its type makes
 * needless: engines iterate frozen lists slowly, and with them all lists at the same place.
 */
export const NOTHING: readonly never[] = [];
