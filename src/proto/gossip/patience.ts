import type { Announcement } from "./messages.ts";

/**
 * How long to wait for a payload after its first announcement before asking for it, ms.
 *
 * An announcement often overtakes its payload: it took a shorter way than the tree. Asking at once would fetch payloads
 * twice and rearrange a tree that is not broken, until its paths are many times the shortest; asking late makes every
 * broken branch slow. Along a publisher's own tree a payload is hardly ever overtaken; along the shared one it is late by
 * about twice the mean round trip (simulated: 200 to 10,000 members, 5 to 80 ms one way).
 *
 * The spread makes the members of a cut-off branch ask one after the other, so that the first answers serve the rest
 * through the branch itself. It depends on the member and the id only: no two runs differ.
 */
export function patienceMs(announcement: Announcement, meanRttMs: number, self: number): number {
  const { own, id } = announcement;
  const mixed = Math.imul(self ^ id.charCodeAt(0) ^ (id.charCodeAt(1) << 8), 0x9e3779b1) >>> 0;
  const spread = mixed / 4294967296;
  return own ? LEAST_MS + (1 + spread / 2) * meanRttMs : LEAST_MS + (2 + spread) * meanRttMs;
}

/** Below this the scheduling of busy processes makes the difference: two announcement delays. */
const LEAST_MS = 40;
