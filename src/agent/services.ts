import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { mayDo, OWN_PREFIX, rightOfStream } from "../proto/trust/rights.ts";
import type { LinkStreamHandler } from "./link-streams.ts";

/** The code of a stream that its opener's token does not allow. Below 16, so no application's. */
const FORBIDDEN = 15;

/** What an agent serves on streams, and to whom: an opener's token must allow `stream:PROTOCOL`. */
export class Services {
  readonly #handlers = new Map<string, LinkStreamHandler>();
  readonly #scopesOf: (peer: PeerId) => readonly string[];
  readonly #refused: (peer: PeerId) => void;

  /** @param scopesOf what a peer's valid token grants; nothing when there is none. @param refused a peer asked for more. */
  constructor(scopesOf: (peer: PeerId) => readonly string[], refused: (peer: PeerId) => void) {
    this.#scopesOf = scopesOf;
    this.#refused = refused;
  }

  /** What a peer's valid token grants; nothing when there is none. */
  scopesOf(peer: PeerId): readonly string[] {
    return this.#scopesOf(peer);
  }

  /** Sets, or with undefined removes, an application's handler. Throws `usage` for a protocol of Starling itself. */
  handle(protocol: string, handler: LinkStreamHandler | undefined): void {
    if (protocol.startsWith(OWN_PREFIX)) {
      throw new StarlingError(
        "usage",
        `protocols that begin with ${OWN_PREFIX} are Starling's own; choose another name`,
      );
    }
    this.provide(protocol, handler);
  }

  /** As {@link handle}, for Starling's own protocols too: each has a row in the table of rights, or is served to nobody. */
  provide(protocol: string, handler: LinkStreamHandler | undefined): void {
    if (rightOfStream(protocol) === undefined)
      throw new StarlingError("internal", `the protocol ${protocol} declares no right`);
    if (handler) this.#handlers.set(protocol, handler);
    else this.#handlers.delete(protocol);
  }

  /** Who takes a stream of `protocol`; undefined refuses it as unknown. */
  handlerOf(protocol: string): LinkStreamHandler | undefined {
    const handler = this.#handlers.get(protocol);
    // Who has a link is a member.
    if (handler === undefined || rightOfStream(protocol) === "member") return handler;
    return (stream, from) => {
      if (mayDo(this.#scopesOf(from), "open-stream", protocol)) return handler(stream, from);
      stream.reset(FORBIDDEN);
      return this.#refused(from);
    };
  }
}
