import type { StateDirectory } from "../drivers/state-directory.ts";
import type { Timers } from "../host/timers.ts";
import type { Logger } from "../options.ts";
import type { Mesh } from "../proto/mesh.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { recordsOf } from "./status-view.ts";

/** Records of members are kept for the next start at this pace, ms: a crash loses a minute of news. */
const REMEMBER_MS = 60_000;

/** Keeps the records of members for the next start. Never rejects. */
export async function remember(mesh: Mesh, self: PeerId, state: StateDirectory, log: Logger): Promise<void> {
  await state
    .writeMembers(recordsOf(mesh, self))
    .catch((error: unknown) => log.warn("members are not remembered", { error: String(error) }));
}

/** Keeps them again and again, as long as `timers` run. */
export function keepRemembering(
  timers: Pick<Timers, "later">,
  mesh: Mesh,
  self: PeerId,
  state: StateDirectory,
  log: Logger,
): void {
  timers.later(REMEMBER_MS, () => {
    void remember(mesh, self, state, log).then(() => keepRemembering(timers, mesh, self, state, log));
  });
}
