import { assert } from "../../src/proto/assert.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { ClientMessage } from "../../src/proto/signaling/messages.ts";
import { TokenBucket } from "../../src/proto/token-bucket.ts";
import type { Connection, KnownDesk, OwnDesk, Stage } from "./events.ts";
import type { RoomsLimits } from "./limits.ts";
import type { Presence } from "./presence.ts";
import type { Switchboard } from "./switchboard.ts";

export type { OwnDesk } from "./events.ts";

/**
 * The desks of issuers at one signaling server: its own, where it holds an issuing key, and those of members that hold one.
 *
 * Every challenge lists the desks of its cluster. A connection that has not logged in may then ask one of them, once: its
 * sealed request goes to the desk, the sealed answer comes back, and the login follows. The server reads neither. It asks
 * the authority about each desk that a member hands in, so that members cannot crowd out the real ones; newcomers check for themselves.
 * One desk for each issuing key, the first that is there: two holders of one key would count the uses of a join token apart.
 */
export class Desks {
  readonly #board: Switchboard;
  readonly #presence: Presence;
  readonly #limits: RoomsLimits;
  #own: readonly OwnDesk[];

  constructor(board: Switchboard, presence: Presence, limits: RoomsLimits, own: readonly OwnDesk[]) {
    this.#board = board;
    this.#presence = presence;
    this.#limits = limits;
    this.#own = own;
  }

  /** The server's own desks are these from here on: another issuing key is in use. */
  replace(own: readonly OwnDesk[]): void {
    this.#own = own;
  }

  /** The desks that a challenge in `cluster` names. */
  listed(cluster: string): Uint8Array[] {
    const own = this.#own.filter((desk) => desk.cluster === cluster);
    return [...own.map(({ desk }) => desk), ...(this.#presence.room(cluster)?.desks() ?? [])];
  }

  /** Hands a request of somebody who is not logged in to the desk that it names. */
  ask(
    connection: Connection,
    stage: Extract<Stage, { at: "challenged" }>,
    message: Extract<ClientMessage, { type: "exchange" }>,
    now: Instant,
  ): void {
    const { exchanged: _, loginBy: __, at: ___, ...greeting } = stage;
    const { cluster } = greeting;
    const own = this.#own.some((desk) => desk.cluster === cluster && desk.kid === message.kid);
    const holder = own ? undefined : this.#presence.room(cluster)?.deskOf(message.kid);
    // A request above the rate costs nothing, so that somebody who hammers does not shut the desk for good.
    const busy = holder?.asks !== undefined && holder.asks.level(this.#limits.asks, now) < 1;
    if (!own && (holder === undefined || busy)) {
      const detail = busy ? "the issuer is asked too much; try later" : "no issuer of this token is here";
      this.#board.refuse(connection, "exchangesRefused", "issuer-unreachable", detail);
      return;
    }
    holder?.asks?.spend(1, this.#limits.asks, now);
    connection.stage = {
      ...greeting,
      at: "exchanging",
      exchangeBy: now + this.#limits.exchangeMs,
      holder: holder?.connection,
    };
    this.#board.arm(connection);
    this.#board.count("exchanges");
    const bytes = new Uint8Array(message.bytes);
    if (holder === undefined)
      this.#board.put({ type: "exchange", connection: connection.id, request: { cluster, kid: message.kid, bytes } });
    else {
      const asked = this.#board.connection(holder.connection);
      assert(asked !== undefined, "a session in a room has its connection");
      this.#board.send(asked, { type: "asked", id: connection.id, bytes });
    }
  }

  /** The server's own desk has answered, or has nothing to say. */
  answeredHere(connection: Connection, bytes: Uint8Array | undefined, now: Instant): void {
    const { stage } = connection;
    assert(stage.at === "exchanging" && stage.holder === undefined, "the authority answers once for each request");
    if (bytes === undefined) this.unanswered(connection);
    else this.#pass(connection, stage, bytes, now);
  }

  /** A member's desk has answered; an answer to nobody who waits for it is late, and dropped. */
  answeredBy(holder: Connection, message: Extract<ClientMessage, { type: "answer" }>, now: Instant): void {
    const asker = this.#board.connection(message.id);
    if (asker?.stage.at !== "exchanging" || asker.stage.holder !== holder.id) return;
    this.#pass(asker, asker.stage, message.bytes, now);
  }

  /** The desk has not answered in time. */
  unanswered(connection: Connection): void {
    const detail = "the issuer did not answer; try later, or ask for an invite for your own node key";
    this.#board.refuse(connection, "exchangesUnanswered", "issuer-unreachable", detail);
  }

  /** A member hands in a desk: the authority is asked whether it is one. */
  claim(connection: Connection, stage: Extract<Stage, { at: "present" }>, desk: Uint8Array, now: Instant): void {
    if (this.#board.charge(connection, this.#limits.renewCost, now) === "flood") return;
    const claim = { cluster: stage.room.cluster, peer: stage.session.peer, desk: new Uint8Array(desk) };
    this.#board.put({ type: "check-desk", connection: connection.id, claim });
  }

  /** The authority's word on the desk that a member has handed in. */
  checked(connection: Connection, desk: KnownDesk | undefined, now: Instant): void {
    const { stage } = connection;
    if (stage.at !== "present") return;
    const { room, session } = stage;
    const own =
      desk !== undefined && this.#own.some(({ cluster, kid }) => cluster === room.cluster && kid === desk.kid);
    if (desk === undefined || own || !room.openDesk(session, desk, this.#limits.desks)) {
      this.#board.fault("desksRefused", connection.address, session.peer);
      return;
    }
    session.asks ??= new TokenBucket(this.#limits.asks, now);
    this.#board.count("desks");
  }

  #pass(asker: Connection, stage: Extract<Stage, { at: "exchanging" }>, bytes: Uint8Array, now: Instant): void {
    const { at: _, exchangeBy: __, holder: ___, ...greeting } = stage;
    asker.stage = { ...greeting, at: "challenged", loginBy: now + this.#limits.loginMs, exchanged: true };
    this.#board.arm(asker);
    this.#board.send(asker, { type: "exchanged", bytes });
  }
}
