import { StarlingError } from "../errors.ts";

/**
 * What an operation whose signal has aborted ends with: `timeout` where it was time that ran out (`AbortSignal.timeout`),
 * else `aborted`.
 */
export function abortedBy(signal: AbortSignal, message: string): StarlingError {
  const { reason } = signal;
  const isTimeout = reason instanceof DOMException && reason.name === "TimeoutError";
  return new StarlingError(isTimeout ? "timeout" : "aborted", message, { cause: reason });
}
