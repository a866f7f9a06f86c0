/**
 * Assertions state what the program itself guarantees; they stay on in production. Bad input from outside is never an
 * assertion: it is an output of the machine that met it.
 */

/** A broken promise between two parts of this program: always our bug, never the peer's. */
export class AssertionFailure extends Error {
  override readonly name = "AssertionFailure";
}

/** Throws {@link AssertionFailure} with `message` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** Marks a branch that the type checker proves unreachable; throws if it is reached all the same. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${String(value)}`);
}
