import { setTimeout as pause } from "node:timers/promises";
import { STORE_LABEL } from "../proto/storers.ts";
import type { Buckets } from "./buckets.ts";
import type { Connections } from "./connections.ts";
import type { MeshHost } from "./mesh-host.ts";
import type { Preparation } from "./prepare.ts";
import type { Servers } from "./servers.ts";

/** How long others get to take over what this member holds for them, ms. */
const HAND_OVER_MS = 10_000;
/** How long an announcement of leaving gets to spread before what carries it closes, ms. */
const FAREWELL_MS = 150;
/** How long what is queued on links gets, ms. */
const DRAIN_MS = 2_000;

/** Hands over what this member stores, says goodbye to everybody, and lets go of links and servers. */
export async function takeLeave(agent: {
  readonly host: MeshHost | undefined;
  readonly prepared: Pick<Preparation, "labels">;
  readonly buckets: Pick<Buckets, "drain">;
  readonly connections: Pick<Connections, "leave">;
  readonly servers: Pick<Servers, "leave">;
}): Promise<void> {
  const { host, prepared, buckets } = agent;
  if (host?.mesh.replication.isPlacing) {
    host.input({ type: "update", profile: { labels: storingNoMore(prepared.labels) } });
    await buckets.drain(HAND_OVER_MS);
  }
  host?.input({ type: "leave" });
  await pause(FAREWELL_MS);
  await agent.connections.leave(DRAIN_MS);
  await agent.servers.leave();
  await pause(FAREWELL_MS);
}

/** The same labels, of a member that stores nothing from here on. */
function storingNoMore(labels: Preparation["labels"]): (readonly [string, string])[] {
  const others = labels.filter(([key]) => key !== STORE_LABEL);
  return [...others, [STORE_LABEL, "no"] as const].sort(([a], [b]) => (a < b ? -1 : 1));
}
