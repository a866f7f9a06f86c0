import { readInterfaces } from "../drivers/interfaces.ts";
import type { Timers } from "../host/timers.ts";
import { LOOK_MS, Surroundings } from "../proto/session/surroundings.ts";
import type { Connections } from "./connections.ts";
import type { Preparation } from "./prepare.ts";
import type { Servers } from "./servers.ts";

/** Looks again and again whether addresses of this machine have changed, or it slept: what stands may then be cut off. */
export function watchSurroundings(
  timers: Pick<Timers, "later">,
  { now, log }: Pick<Preparation, "now" | "log">,
  servers: Pick<Servers, "nudge">,
  connections: Pick<Connections, "shaken">,
): void {
  const surroundings = new Surroundings();
  const look = (): void => {
    const addresses = readInterfaces().map(({ address }) => address);
    const change = surroundings.look(addresses, now());
    const { moved, woke } = change;
    if (moved || woke) {
      log.info("the network of this machine has changed", { moved, woke });
      servers.nudge();
      connections.shaken(change);
    }
    timers.later(LOOK_MS, look);
  };
  look();
}
