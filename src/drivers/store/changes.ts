import { assert } from "../../proto/assert.ts";
import { utf8 } from "../../proto/bytes.ts";
import type { Change } from "../../store.ts";
import { MAX_CHANGES_PER_COMMIT, MAX_COMMIT_BYTES, MAX_NAME_BYTES, MAX_SPACE, MAX_VALUE_BYTES } from "./limits.ts";

/** Throws unless these changes are such as a store takes: its callers guarantee it. */
export function checkChanges(changes: readonly Change[]): void {
  assert(changes.length <= MAX_CHANGES_PER_COMMIT, "a commit has at most 65,536 changes");
  let bytes = 0;
  for (const change of changes) {
    const { space, name, value } = change;
    assert(Number.isInteger(space) && space >= 0 && space <= MAX_SPACE, "a space is 0 to 250");
    assert(isName(name), "a name is 1 to 1,024 bytes of well-formed text");
    assert(value === undefined || value.length <= MAX_VALUE_BYTES, "a value has at most 16 MiB");
    bytes += bytesOf(change);
  }
  assert(bytes <= MAX_COMMIT_BYTES, "a commit has at most 64 MiB");
}

/** About what a change takes while it waits. */
export function bytesOf({ name, value }: Change): number {
  return name.length + (value?.length ?? 0);
}

// Text that is not well-formed has no UTF-8 form of its own: two names would become one.
function isName(name: string): boolean {
  if (name.length === 0 || !name.isWellFormed()) return false;
  // No character of UTF-16 takes more than three bytes.
  return name.length * 3 <= MAX_NAME_BYTES || utf8(name).length <= MAX_NAME_BYTES;
}
