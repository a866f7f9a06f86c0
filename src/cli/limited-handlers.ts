import type { ControlHandler } from "../drivers/control.ts";
import { StarlingError } from "../errors.ts";
import { type Rate, TokenBucket } from "../proto/token-bucket.ts";

/** Whoever holds up the socket with commands can end the agent all the same. */
const ALWAYS: ReadonlySet<string> = new Set(["down"]);

/**
 * `handlers`, as many calls of which are carried out as `rate` allows; the rest is refused with `limit-reached`, costs next to nothing and is
 * not audited. `now`: ms of a clock that does not go back.
 */
export function limitedHandlers(
  rate: Rate,
  handlers: ReadonlyMap<string, ControlHandler>,
  now: () => number = () => performance.now(),
): ReadonlyMap<string, ControlHandler> {
  const bucket = new TokenBucket(rate, now());
  const limited = (handler: ControlHandler): ControlHandler => {
    return async (parameters, emit, signal) => {
      if (bucket.level(rate, now()) < 1) throw tooMany(rate);
      bucket.spend(1, rate, now());
      return handler(parameters, emit, signal);
    };
  };
  return new Map(Array.from(handlers, ([name, handler]) => [name, ALWAYS.has(name) ? handler : limited(handler)]));
}

function tooMany({ perSecond }: Rate): StarlingError {
  const hint = `call it less often, or raise controlCalls in its configuration`;
  return new StarlingError("limit-reached", `this agent takes ${perSecond} commands a second; ${hint}`);
}
