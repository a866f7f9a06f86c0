import { assert } from "../../src/proto/assert.ts";
import { zeroCounters } from "../../src/proto/counters.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import type { RefusalCode, ServerMessage } from "../../src/proto/signaling/messages.ts";
import { encodeServerMessage } from "../../src/proto/signaling/server-messages.ts";
import { TokenBucket } from "../../src/proto/token-bucket.ts";
import { Alarms } from "./alarms.ts";
import { COUNTERS, type Counter, type Counters } from "./counters.ts";
import type { CloseCode, Connection, ConnectionId, RoomsOutput, Stage } from "./events.ts";
import type { RoomsLimits } from "./limits.ts";
import type { Presence } from "./presence.ts";
import { Sources } from "./sources.ts";

/**
 * The connections of a signaling server, whatever they have to say: how one comes and goes, what it may cost, when it wants
 * attention, and the effects that go out to it. {@link Rooms} decides what they mean.
 *
 * A connection ends in one of three ways: *closed* (the normal end), *refused* (told why, then closed) or *cut* (its
 * transport is misused, so that nothing said to it would arrive). Each takes it out of its room at once; the connection
 * itself counts against its address until the driver says that it is gone.
 */
export class Switchboard {
  readonly counters: Counters = zeroCounters(COUNTERS);
  readonly #limits: RoomsLimits;
  readonly #presence: Presence;
  readonly #sources: Sources;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #alarms = new Alarms<Connection>();
  #out: RoomsOutput[] = [];

  constructor(limits: RoomsLimits, presence: Presence) {
    this.#limits = limits;
    this.#presence = presence;
    this.#sources = new Sources(limits);
  }

  get size(): number {
    return this.#connections.size;
  }

  connection(id: ConnectionId): Connection | undefined {
    return this.#connections.get(id);
  }

  connections(): IterableIterator<Connection> {
    return this.#connections.values();
  }

  /** Everything that was put out since the last call. */
  drain(): readonly RoomsOutput[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  put(output: RoomsOutput): void {
    this.#out.push(output);
  }

  send(connection: Connection, message: ServerMessage): void {
    this.#out.push({ type: "send", connection: connection.id, bytes: encodeServerMessage(message) });
  }

  count(name: Counter): void {
    this.counters[name]++;
  }

  /** Counts something that somebody should look at, and puts it out for the log. */
  fault(fault: Counter, address: string, peer?: PeerId, code?: RefusalCode): void {
    this.counters[fault]++;
    this.#out.push({ type: "fault", address, fault, ...(peer && { peer }), ...(code && { code }) });
  }

  // Coming

  /** Lets a connection in, or closes it when a bound stands against it or the server is `closing`. */
  open(id: ConnectionId, address: string, closing: boolean, now: Instant): void {
    assert(!this.#connections.has(id), "a connection id is never given twice");
    const refusal = closing ? "connectionsRefusedFull" : this.#sources.admit(address, now);
    if (refusal !== undefined) {
      this.fault(refusal, address);
      this.#out.push({ type: "close", connection: id, code: 1008, abrupt: true });
      return;
    }
    this.counters.connections++;
    const connection: Connection = {
      id,
      address,
      messages: new TokenBucket(this.#limits.messages, now),
      stage: { at: "connected", loginBy: now + this.#limits.loginMs },
      settled: false,
      heardAt: now,
      pingedAt: undefined,
      alarmIndex: -1,
      alarmAt: 0,
    };
    this.#connections.set(id, connection);
    this.arm(connection);
  }

  /** The connection has logged in: it no longer counts against the bounds for those that have not. */
  settle(connection: Connection): void {
    connection.settled = true;
    this.#sources.settle(connection.address);
  }

  /** A login from this address was refused: it may try less often. */
  blame(connection: Connection, now: Instant): void {
    this.#sources.blame(connection.address, now);
  }

  // Going

  /** The driver says that the connection is gone. */
  forget(connection: Connection): void {
    this.#retire(connection);
    this.#sources.release(connection.address, connection.settled);
    this.#connections.delete(connection.id);
  }

  close(connection: Connection, code: CloseCode, abrupt = false): void {
    this.#retire(connection);
    this.#out.push({ type: "close", connection: connection.id, code, abrupt });
  }

  cut(connection: Connection, fault: Counter): void {
    this.fault(fault, connection.address, peerOf(connection.stage));
    this.close(connection, 1008, true);
  }

  refuse(connection: Connection, fault: Counter, code: RefusalCode, detail: string): void {
    this.fault(fault, connection.address, peerOf(connection.stage), code);
    this.send(connection, { type: "refused", code, detail });
    this.close(connection, 1008);
  }

  /** Takes a connection out of its room and its alarm, so that nothing more comes of it. */
  #retire(connection: Connection): void {
    const { stage } = connection;
    if (stage.at === "present") {
      const { room, session } = stage;
      this.#presence.leave(room, session);
      this.#out.push({ type: "left", connection: connection.id, cluster: room.cluster, peer: session.peer });
    }
    this.#alarms.clear(connection);
    connection.stage = { at: "closing" };
  }

  // What it costs

  /** Charges a connection for what it asks; one that goes on far beyond its rate is refused. */
  charge(connection: Connection, cost: number, now: Instant): "within" | "over" | "flood" {
    const left = connection.messages.spend(cost, this.#limits.messages, now);
    if (left >= 0) return "within";
    if (left > -this.#limits.messages.burst) return "over";
    this.refuse(connection, "floods", "rate-limited", "far too many messages");
    return "flood";
  }

  // When it wants attention

  deadline(): Instant | undefined {
    return this.#alarms.next();
  }

  /** Something was heard: the connection lives. Its alarm moves later only, and is looked at when it goes off. */
  hear(connection: Connection, now: Instant): void {
    connection.heardAt = now;
    connection.pingedAt = undefined;
  }

  /** Sets the connection's alarm to what its stage wants next. */
  arm(connection: Connection): void {
    const due = this.due(connection);
    if (due !== undefined) this.#alarms.set(connection, due);
  }

  /** Takes the next connection whose alarm has gone off; it must be armed again. */
  takeAlarm(now: Instant): Connection | undefined {
    return this.#alarms.take(now);
  }

  /** When the connection's stage wants something next. */
  due(connection: Connection): Instant | undefined {
    const { stage, heardAt, pingedAt } = connection;
    switch (stage.at) {
      case "connected":
      case "challenged":
      case "resuming":
        return stage.loginBy;
      case "exchanging":
        return stage.exchangeBy;
      case "verifying":
        return stage.verifyBy;
      case "present": {
        const silence = pingedAt === undefined ? heardAt + this.#limits.pingAfterMs : pingedAt + this.#limits.pongMs;
        const expiry = stage.noticed ? this.#limits.expiryLeewayMs : -this.#limits.expiryNoticeMs;
        return Math.min(silence, stage.session.expiresAt + expiry);
      }
      case "closing":
        return undefined;
    }
  }
}

/** Who is at the other end, once that is proved. */
function peerOf(stage: Stage): PeerId | undefined {
  return stage.at === "present" ? stage.session.peer : undefined;
}
