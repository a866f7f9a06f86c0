import type { PeerId } from "../proto/peer-id.ts";
import type { LinkStreamHandler } from "./link-streams.ts";

/** The code of a stream whose link ended before it was open. Below 16, so no application's. */
const NEVER_OPENED = 14;

/**
 * Links that may be used. A peer's side may be open a round trip before ours is; streams that it begins meanwhile wait, and are
 * reset if the link never opens.
 */
export class OpenLinks {
  readonly #open = new Set<PeerId>();
  readonly #waiting = new Map<PeerId, ((isOpen: boolean) => void)[]>();

  open(peer: PeerId): void {
    this.#open.add(peer);
    this.#release(peer, true);
  }

  /** Its link is over; true if it was open. */
  close(peer: PeerId): boolean {
    this.#release(peer, false);
    return this.#open.delete(peer);
  }

  /** `handler`, for streams of open links. */
  guard(handler: LinkStreamHandler | undefined): LinkStreamHandler | undefined {
    if (handler === undefined) return undefined;
    return (stream, from) => {
      if (this.#open.has(from)) return handler(stream, from);
      return new Promise<boolean>((resolve) => {
        const waiting = this.#waiting.get(from) ?? [];
        this.#waiting.set(from, [...waiting, resolve]);
      }).then((isOpen) => (isOpen ? handler(stream, from) : stream.reset(NEVER_OPENED)));
    };
  }

  #release(peer: PeerId, isOpen: boolean): void {
    const waiting = this.#waiting.get(peer) ?? [];
    this.#waiting.delete(peer);
    for (const resolve of waiting) resolve(isOpen);
  }
}
