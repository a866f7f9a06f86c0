import { assert } from "../../src/proto/assert.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { type PeerId, publicKeyOf } from "../../src/proto/peer-id.ts";
import { below, type Random } from "../../src/proto/random.ts";
import type { TokenBucket } from "../../src/proto/token-bucket.ts";
import type { Admission, ConnectionId, KnownDesk, TokenNames } from "./events.ts";

/** The session of a member that has logged in. */
export interface Session {
  readonly connection: number;
  readonly peer: PeerId;
  /** The 32 bytes that `peer` names. */
  readonly key: Uint8Array;
  /** Which run of the agent it is: the `instance` of its hello, in hexadecimal. */
  readonly run: string;
  expiresAt: Instant;
  scopes: readonly string[];
  /** By what its token can be revoked, besides its subject. */
  names?: TokenNames;
  /** The record that it presented; empty before that, or where no room was left to keep it. */
  record: Uint8Array;
  /** Its place among the introducible sessions of its room; -1 while it is not one. */
  slot: number;
  /** The desk that it holds, and how much that may be asked. */
  desk?: KnownDesk;
  asks?: TokenBucket;
}

/** The session of a login that the authority has allowed. */
export function beginSession(
  connection: ConnectionId,
  peer: PeerId,
  run: string,
  { expiresAt, scopes, names }: Admission,
): Session {
  const key = publicKeyOf(peer);
  return { connection, peer, key, run, expiresAt, scopes, record: NOTHING, slot: -1, ...(names && { names }) };
}

/**
 * The members of one cluster that are logged in. Each key has one session. Those that have presented a record can be
 * introduced: they stand in a dense array, so that a random few cost no more than themselves.
 */
export class Room {
  readonly cluster: string;
  readonly #sessions = new Map<PeerId, Session>();
  readonly #introducible: Session[] = [];
  /** Those that hold a desk, by the name of its issuing key. */
  readonly #desks = new Map<string, Session>();

  constructor(cluster: string) {
    this.cluster = cluster;
  }

  get size(): number {
    return this.#sessions.size;
  }

  session(peer: PeerId): Session | undefined {
    return this.#sessions.get(peer);
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  join(session: Session): void {
    assert(!this.#sessions.has(session.peer), "one session for each key");
    this.#sessions.set(session.peer, session);
  }

  leave(session: Session): void {
    assert(this.#sessions.get(session.peer) === session, "only a session that joined leaves");
    this.#sessions.delete(session.peer);
    if (session.desk !== undefined) this.#desks.delete(session.desk.kid);
    if (session.slot < 0) return;
    const last = this.#introducible.pop() as Session;
    if (last !== session) this.#place(last, session.slot);
    session.slot = -1;
  }

  /** Keeps `record` for introductions; the caller hands over bytes that nothing else refers to. */
  present(session: Session, record: Uint8Array): void {
    session.record = record;
    if (session.slot < 0) this.#place(session, this.#introducible.length);
  }

  /** Opens a desk for `session`, in place of the one that it has; false when another holds that key's, or `most` are open. */
  openDesk(session: Session, desk: KnownDesk, most: number): boolean {
    const holder = this.#desks.get(desk.kid) ?? session;
    if (holder !== session || (session.desk === undefined && this.#desks.size >= most)) return false;
    if (session.desk !== undefined) this.#desks.delete(session.desk.kid);
    session.desk = desk;
    this.#desks.set(desk.kid, session);
    return true;
  }

  deskOf(kid: string): Session | undefined {
    return this.#desks.get(kid);
  }

  desks(): Uint8Array[] {
    return Array.from(this.#desks.values(), ({ desk }) => desk?.desk ?? NOTHING);
  }

  /** The records of at most `count` members other than `asker`, drawn at random without repetition. */
  introductions(count: number, asker: Session, random: Random): Uint8Array[] {
    const pool = this.#introducible;
    const records: Uint8Array[] = [];
    // A partial Fisher-Yates shuffle of the pool itself: its order means nothing.
    for (let index = 0; index < pool.length && records.length < count; index++) {
      const other = index + below(random, pool.length - index);
      const drawn = pool[other] as Session;
      this.#place(pool[index] as Session, other);
      this.#place(drawn, index);
      if (drawn !== asker) records.push(drawn.record);
    }
    return records;
  }

  #place(session: Session, slot: number): void {
    this.#introducible[slot] = session;
    session.slot = slot;
  }
}

const NOTHING = new Uint8Array(0);
