import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AgentEventTarget, LinkChangeEvent } from "./events.ts";
import type { PeerLink } from "./peer-link.ts";

/** How long a link that is wanted now may take, ms: the longest stage of a dial and room for one more try. */
const REACH_MS = 30_000;

/** The link to a member, dialed where there is none. Rejects with `not-found`, `dial-failed`, or `timeout` when the caller's patience ends. */
export async function reach(
  peer: PeerId,
  signal: AbortSignal | undefined,
  host: {
    readonly events: AgentEventTarget;
    link(): PeerLink | undefined;
    isMember(): boolean;
    dial(): void;
  },
): Promise<PeerLink> {
  const link = host.link();
  if (link) return link;
  if (!host.isMember()) throw new StarlingError("not-found", `${peer} is no member of the cluster`);
  const settled = Promise.withResolvers<void>();
  const finish = (): void => settled.resolve();
  const onUp = (event: LinkChangeEvent): void => {
    if (event.peer === peer) finish();
  };
  const timeout = setTimeout(finish, REACH_MS);
  signal?.addEventListener("abort", finish, { once: true });
  host.events.addEventListener("linkup", onUp);
  host.dial();
  await settled.promise;
  clearTimeout(timeout);
  signal?.removeEventListener("abort", finish);
  host.events.removeEventListener("linkup", onUp);
  const opened = host.link();
  if (opened) return opened;
  const code = signal?.aborted ? "timeout" : "dial-failed";
  throw new StarlingError(code, "no link to the member could be opened in time; `starling members` says whether it is there");
}
