import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { abortedBy } from "./aborted.ts";
import type { AgentEventTarget, LinkChangeEvent } from "./events.ts";
import type { PeerLink } from "./peer-link.ts";

/** How long a link that is wanted now may take, ms: the longest stage of a dial and room for one more try. */
const REACH_MS = 30_000;

/** How long a direct link is waited for before the way through other members is tried as well, ms: most dials take less than 2 s. */
const HEAD_START_MS = 5_000;

/**
 * The link to a member, dialed where there is none: a direct one, or one through other members where that takes long or has failed before. Rejects with `not-found`, `usage` for the agent itself, `dial-failed`,
 * `closed` when the agent ends, `timeout` or `aborted` when the caller's patience does.
 */
export async function reach(
  peer: PeerId,
  signal: AbortSignal | undefined,
  host: {
    readonly self: PeerId;
    readonly events: AgentEventTarget;
    /** Settles when the agent has ended. */
    readonly closed: Promise<unknown>;
    isClosed(): boolean;
    link(): PeerLink | undefined;
    isMember(): boolean;
    /** Whether a direct link was tried in vain before. */
    isUnconnectable(): boolean;
    dial(): void;
    /** Makes a link through other members; undefined when there is no way. */
    relay(): Promise<PeerLink | undefined>;
  },
): Promise<PeerLink> {
  const link = host.link();
  if (link) return link;
  if (host.isClosed()) throw new StarlingError("closed", "the agent has closed");
  if (signal?.aborted) throw abortedBy(signal, "no link to the member was opened");
  if (peer === host.self) throw new StarlingError("usage", "an agent has no link to itself; name another member");
  if (!host.isMember()) throw new StarlingError("not-found", `${peer} is no member of the cluster`);
  const settled = Promise.withResolvers<void>();
  const finish = (): void => settled.resolve();
  const onUp = (event: LinkChangeEvent): void => {
    if (event.peer === peer) finish();
  };
  const timeout = setTimeout(finish, REACH_MS);
  const relay = (): void => void host.relay().then((relayed) => relayed && finish());
  const headStart = setTimeout(relay, host.isUnconnectable() ? 0 : HEAD_START_MS);
  signal?.addEventListener("abort", finish, { once: true });
  host.events.addEventListener("linkup", onUp);
  void host.closed.then(finish);
  host.dial();
  await settled.promise;
  clearTimeout(timeout);
  clearTimeout(headStart);
  signal?.removeEventListener("abort", finish);
  host.events.removeEventListener("linkup", onUp);
  const opened = host.link();
  if (opened) return opened;
  const message = "no link to the member could be opened in time; `starling members` says whether it is there";
  if (signal?.aborted) throw abortedBy(signal, message);
  throw host.isClosed()
    ? new StarlingError("closed", "the agent has closed")
    : new StarlingError("dial-failed", message);
}
