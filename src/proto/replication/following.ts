import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Applying } from "./applying.ts";
import type { Aside } from "./aside.ts";
import type { Outlet } from "./effects.ts";
import type { Entry } from "./entry.ts";
import { instantOf } from "./hlc.ts";
import { encodeStanding } from "./messages.ts";
import type { Peers } from "./peers.ts";
import type { Scope } from "./scope.ts";
import { Service, type ServiceRecord } from "./service.ts";
import type { Store } from "./store.ts";
import type { VersionId } from "./version-id.ts";

/** What following works with. */
export interface FollowingTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly peers: Peers;
  readonly scope: Scope;
  readonly applying: Applying;
  readonly aside: Aside;
  /** Has what is kept beside the entries stored. */
  readonly touch: () => void;
  readonly isAlone: () => boolean;
  /** Our standing towards a peer has changed. */
  readonly turned: (peer: PeerId, now: Instant) => void;
}

/** What a replica does about its own {@link Service}: it parts with what is not to be, tells its peers and its host. */
export class Following {
  readonly service: Service;
  readonly #tools: FollowingTools;
  #removed = 0;
  #setAside = 0;

  constructor(tools: FollowingTools, record: ServiceRecord | undefined) {
    this.#tools = tools;
    const { store, peers, outlet, touch, isAlone } = tools;
    this.service = new Service(
      {
        retentionMs: () => store.retentionMs(),
        hold: (until) => store.hold(until),
        touched: touch,
        isLinked: () => peers.size > 0,
        isAlone,
        resumed: (awaySince) => outlet.emit({ type: "resumed", awaySince }),
        changed: (now) => {
          touch();
          for (const peer of peers.ids()) this.tell(peer);
          for (const peer of [...peers.ids()]) tools.turned(peer, now);
        },
      },
      record,
    );
  }

  /** Tells a peer what we are. */
  tell(peer: PeerId): void {
    this.#tools.outlet.send(peer, encodeStanding(this.service.standing));
  }

  /** An exchange with a peer has left nothing out. */
  served(peer: PeerId, now: Instant): void {
    const { peers, outlet } = this.#tools;
    const standing = peers.conduct(peer)?.standing;
    if (standing === undefined) return;
    const { gapFrom } = this.service.standing;
    const isFollowed = this.service.relation(standing) === "we-follow";
    if (isFollowed) this.#partWithTheRest(peer, now);
    this.service.served(standing, now);
    if (!isFollowed) return;
    outlet.emit({
      type: "followed",
      peer,
      awaySince: gapFrom ?? now,
      removed: this.#removed,
      setAside: this.#setAside,
    });
    this.#removed = 0;
    this.#setAside = 0;
  }

  /** Whoever we follow does not have these. */
  part(bucket: string, ids: readonly VersionId[], now: Instant): void {
    const versions = this.#tools.store.bucket(bucket)?.versions;
    for (const id of ids) {
      const entry = versions?.find(id);
      if (entry !== undefined) this.#part(entry, now);
    }
  }

  /** What could not be compared with `peer`, because it is not to have it, is had again from those who are. */
  #partWithTheRest(peer: PeerId, now: Instant): void {
    const { store, scope } = this.#tools;
    if (!store.isPlacing) return;
    for (const { name, versions } of [...store.buckets()]) {
      const slots = scope.shared(name, peer);
      if (slots === undefined) continue;
      versions.bySlot().forEach((entries, slot) => {
        if (slots[slot] === 0) for (const entry of entries) this.#part(entry, now);
      });
    }
  }

  #part(entry: Entry, now: Instant): void {
    const { store, applying, aside } = this.#tools;
    if (instantOf(entry.clock) >= store.horizon(entry.bucket, now)) return;
    const before = aside.size;
    applying.part(entry, this.service.standing.gapFrom ?? now);
    this.#removed++;
    this.#setAside += Math.max(0, aside.size - before);
  }
}
