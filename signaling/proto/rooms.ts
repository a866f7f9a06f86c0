import { assert } from "../../src/proto/assert.ts";
import { type Instant, type Machine, NOTHING } from "../../src/proto/machine.ts";
import type { Random } from "../../src/proto/random.ts";
import { decodeClientMessage } from "../../src/proto/signaling/client-messages.ts";
import { signalingLimits } from "../../src/proto/signaling/limits.ts";
import type { ClientMessage } from "../../src/proto/signaling/messages.ts";
import { encodeRelayed } from "../../src/proto/signaling/server-messages.ts";
import { SIGNALING_RIGHTS } from "../../src/proto/trust/rights.ts";
import type { Counters } from "./counters.ts";
import { Desks } from "./desks.ts";
import type { Connection, Grants, OwnDesk, RoomsInput, RoomsOutput, Stage } from "./events.ts";
import { defaultRoomsLimits, type RoomsLimits } from "./limits.ts";
import { Logins } from "./logins.ts";
import { Notices } from "./notices.ts";
import { Presence } from "./presence.ts";
import { Renewals } from "./renewals.ts";
import type { Session } from "./room.ts";
import { Switchboard } from "./switchboard.ts";
import { Tickets } from "./tickets.ts";

/**
 * The signaling server: one room for each cluster, where members that have proved their key and shown a valid token hand
 * each other sealed signals.
 *
 * A connection is *connected*, then *challenged* (it has said who it is and holds a nonce), then, if it has no member
 * token yet, *exchanging* (an issuer's desk is asked, `desks.ts`), then *verifying* (the authority checks signature and
 * token, outside), then *present* in its cluster's room, and *closing* in the end. One that shows a ticket of an earlier login with its hello is
 * *resuming* and then present, or challenged where the ticket is not taken (`logins.ts`).
 * A message that does not belong to its stage closes it. Each stage has a deadline; bytes before the login reach nobody
 * else and cost no more than one challenge and one check of a signature.
 *
 * What the server decides: who may be here (it asks the authority), that a signal's sender is the session it came from
 * (whatever the bytes say), that a key has one session (the newest; the other is shown the rival's login and closed), how
 * much anybody may send. What it does not: it cannot read signals, does not check records (their readers do), and its
 * word on presence is a hint. It trusts the authority, and nothing that a client says of itself.
 */
export class Rooms implements Machine<RoomsInput, RoomsOutput> {
  readonly limits: RoomsLimits;
  readonly #random: Random;
  readonly #presence: Presence;
  readonly #board: Switchboard;
  readonly #desks: Desks;
  readonly #renewals: Renewals;
  readonly #grants: Grants;
  readonly #notices: Notices;
  readonly #logins: Logins;
  readonly #tickets: Tickets;
  #draining = false;

  /**
   * @param options `names`: those by which agents know this server, the first one for messages; at least one. `desks`: the
   * server's own. `grants`: STUN and TURN servers for members; default: none. `startedAt`: before the first of them could
   * come; default: when the first shows a ticket.
   */
  constructor(options: {
    readonly names: readonly string[];
    readonly random: Random;
    readonly limits?: Partial<RoomsLimits>;
    readonly desks?: readonly OwnDesk[];
    readonly grants?: Grants;
    readonly startedAt?: Instant;
  }) {
    assert(options.names.length > 0, "a signaling server has a name");
    this.limits = { ...defaultRoomsLimits, ...options.limits };
    this.#random = options.random;
    this.#presence = new Presence(this.limits.recordBytes);
    this.#board = new Switchboard(this.limits, this.#presence);
    this.#desks = new Desks(this.#board, this.#presence, this.limits, options.desks ?? []);
    this.#notices = new Notices(this.#board, this.limits);
    this.#grants = options.grants ?? (() => []);
    this.#renewals = new Renewals(this.#board, this.limits, this.#grants);
    this.#tickets = new Tickets(this.#board, this.limits);
    this.#logins = new Logins({
      names: options.names,
      random: this.#random,
      limits: this.limits,
      board: this.#board,
      presence: this.#presence,
      desks: this.#desks,
      grants: this.#grants,
      startedAt: options.startedAt,
    });
  }

  /** How often each thing has happened; the object is live. */
  get counters(): Readonly<Counters> {
    return this.#board.counters;
  }

  /** Connections that are open, in any stage. */
  get connections(): number {
    return this.#board.size;
  }

  /** The members of `cluster` that are logged in, in the order of their login. */
  members(cluster: string): readonly Readonly<Session>[] {
    return this.#presence.members(cluster);
  }

  deadline(): Instant | undefined {
    return this.#board.deadline();
  }

  handle(input: RoomsInput, now: Instant): readonly RoomsOutput[] {
    if (input.type === "connected") this.#board.open(input.connection, input.address, this.#draining, now);
    else if (input.type === "timeout") this.#timeout(now);
    else if (input.type === "drain") this.#drain();
    else if (input.type === "desks") this.#desks.replace(input.desks);
    else if (input.type === "proclaimed")
      this.#notices.proclaimed(input.proclamation, this.#presence.room(input.proclamation.cluster));
    else {
      const connection = this.#board.connection(input.connection);
      // Undefined for late news of a connection that is gone, such as the authority's answer.
      if (connection !== undefined) this.#apply(connection, input, now);
    }
    const out = this.#board.drain();
    return out.length === 0 ? NOTHING : out;
  }

  #apply(
    connection: Connection,
    input: Exclude<RoomsInput, { type: "connected" | "timeout" | "drain" | "desks" | "proclaimed" }>,
    now: Instant,
  ): void {
    const board = this.#board;
    if (input.type === "disconnected") {
      board.forget(connection);
      return;
    }
    if (connection.stage.at === "closing") return;
    switch (input.type) {
      case "message":
        board.hear(connection, now);
        this.#message(connection, input.bytes, input.resumption, now);
        return;
      case "pinged":
        board.hear(connection, now);
        if (board.charge(connection, 1, now) !== "flood")
          board.put({ type: "pong", connection: connection.id, bytes: input.bytes });
        return;
      case "ponged":
        board.hear(connection, now);
        return;
      case "broken":
        board.cut(connection, input.fault === "oversize" ? "oversize" : "protocolErrors");
        return;
      case "congested":
        board.cut(connection, "slowReaders");
        return;
      case "exchanged":
        this.#desks.answeredHere(connection, input.bytes, now);
        return;
      case "desk-checked":
        this.#desks.checked(connection, input.desk, now);
        return;
      case "decreed":
        this.#notices.answered(connection, input.verdict);
        return;
      case "authenticated":
        this.#logins.authenticated(connection, input.verdict, now);
        return;
      case "resumed":
        this.#logins.resumed(connection, input.verdict, now);
        return;
      case "ticket-sealed":
        this.#tickets.sealed(connection, input.ticket);
        return;
      case "renewed":
        this.#renewals.answered(connection, input.verdict, now);
        return;
    }
  }

  #drain(): void {
    this.#draining = true;
    for (const connection of this.#board.connections()) {
      const { at } = connection.stage;
      if (at === "closing") continue;
      // A connection that has said nothing may not even speak WebSocket yet.
      if (at !== "connected")
        this.#board.send(connection, { type: "going-away", reconnectAfterMs: this.limits.reconnectAfterMs });
      this.#board.close(connection, 1001, at === "connected");
    }
  }

  // Time

  #timeout(now: Instant): void {
    const board = this.#board;
    for (let connection = board.takeAlarm(now); connection !== undefined; connection = board.takeAlarm(now)) {
      if ((board.due(connection) ?? now) <= now) this.#overdue(connection, now);
      board.arm(connection);
    }
  }

  #overdue(connection: Connection, now: Instant): void {
    const { stage } = connection;
    if (stage.at === "connected") this.#board.cut(connection, "loginTimeouts");
    else if (stage.at === "challenged" || stage.at === "resuming")
      this.#board.refuse(connection, "loginTimeouts", "login-timeout", "no login came in time");
    else if (stage.at === "exchanging") this.#desks.unanswered(connection);
    else if (stage.at === "verifying")
      this.#board.refuse(connection, "loginTimeouts", "unavailable", "the authority did not answer in time");
    else if (stage.at === "present") this.#attend(connection, stage, now);
  }

  /** Ends a session that has expired or fallen silent; warns before either. */
  #attend(connection: Connection, stage: Extract<Stage, { at: "present" }>, now: Instant): void {
    const { expiresAt } = stage.session;
    const { heardAt, pingedAt } = connection;
    if (now >= expiresAt + this.limits.expiryLeewayMs) {
      const age = Math.round((now - expiresAt) / 1_000);
      const detail = `the session's token expired ${age} s ago by the server's clock`;
      this.#board.refuse(connection, "expired", "token-expired", detail);
      return;
    }
    if (pingedAt !== undefined && now >= pingedAt + this.limits.pongMs) {
      this.#board.refuse(connection, "silent", "silent", "nothing was heard for too long");
      return;
    }
    if (pingedAt === undefined && now >= heardAt + this.limits.pingAfterMs) {
      connection.pingedAt = now;
      this.#board.put({ type: "ping", connection: connection.id });
    }
    if (!stage.noticed && now >= expiresAt - this.limits.expiryNoticeMs) {
      connection.stage = { ...stage, noticed: true };
      this.#board.send(connection, { type: "expiring", expiresAt });
    }
  }

  // Logging in

  #message(connection: Connection, bytes: Uint8Array, resumption: Uint8Array | undefined, now: Instant): void {
    const { stage } = connection;
    if (stage.at !== "present" && bytes.length > signalingLimits.loginMessageBytes) {
      this.#board.refuse(connection, "oversize", "malformed", "a message before the login is too large");
      return;
    }
    const standing = this.#board.charge(connection, 1 + (bytes.length >>> 12), now);
    if (standing === "flood") return;
    const message = decodeClientMessage(bytes);
    if (message.type === "malformed") {
      const fault = message.fault === "oversize" ? "oversize" : "malformed";
      this.#board.refuse(connection, fault, "malformed", `the message is refused: ${message.fault}`);
    } else if (message.type === "goodbye") {
      this.#board.count("goodbyes");
      this.#board.close(connection, 1000);
    } else if (SIGNALING_RIGHTS[message.type] !== "anyone" && stage.at !== "present") {
      this.#outOfTurn(connection, message);
    } else if (stage.at === "present") {
      if (standing === "within") this.#serve(connection, stage, message, now);
      else this.#slow(connection, message, now);
    } else if (stage.at === "connected") this.#logins.greet(connection, stage, message, resumption, now);
    else if (stage.at === "challenged" && message.type === "login") this.#logins.login(connection, stage, message, now);
    else if (stage.at === "challenged" && message.type === "exchange" && !stage.exchanged)
      this.#desks.ask(connection, stage, message, now);
    else this.#outOfTurn(connection, message);
  }

  #outOfTurn(connection: Connection, message: ClientMessage): void {
    this.#board.refuse(connection, "unexpected", "unexpected", `${message.type} is out of turn`);
  }

  // What members ask

  #serve(connection: Connection, stage: Extract<Stage, { at: "present" }>, message: ClientMessage, now: Instant): void {
    const { room, session } = stage;
    switch (message.type) {
      case "signal":
        this.#relay(connection, stage, message);
        return;
      case "time":
        this.#board.send(connection, { type: "time", id: message.id, serverTime: now });
        return;
      case "ice":
        this.#board.send(connection, { type: "granted", iceServers: this.#grants(session.peer, now) });
        return;
      case "present":
        if (!this.#presence.present(room, session, message.record))
          this.#board.fault("recordsNotKept", connection.address, session.peer);
        return;
      case "introduce": {
        // Each record counts as a message: the answer may be 10,000 times as large as the question.
        if (this.#board.charge(connection, message.count, now) === "flood") return;
        const records = room.introductions(message.count, session, this.#random);
        this.#board.send(connection, { type: "introductions", records });
        return;
      }
      case "renew":
        this.#renewals.ask(connection, stage, message.token, now);
        return;
      case "compare":
      case "decrees":
        this.#notices.take(connection, stage, message, now);
        return;
      case "desk":
        this.#desks.claim(connection, stage, message.desk, now);
        return;
      case "answer":
        this.#desks.answeredBy(connection, message, now);
        return;
      case "seek":
        this.#tickets.ask(connection, stage, message, now);
        return;
      default:
        this.#outOfTurn(connection, message);
    }
  }

  /** Drops a message that is over its sender's rate; the sender is told where it waits for an answer. */
  #slow(connection: Connection, message: ClientMessage, now: Instant): void {
    this.#board.count("rateLimited");
    if (message.type === "time") this.#board.send(connection, { type: "time", id: message.id, serverTime: now });
    else if (message.type === "signal")
      this.#board.send(connection, { type: "undelivered", to: message.to, id: message.id, reason: "rate-limited" });
    else if (message.type === "renew")
      this.#board.send(connection, { type: "unrenewed", code: "rate-limited", detail: "too many messages; try later" });
  }

  #relay(
    connection: Connection,
    stage: Extract<Stage, { at: "present" }>,
    message: Extract<ClientMessage, { type: "signal" }>,
  ): void {
    const recipient = stage.room.session(message.to);
    if (recipient === undefined) {
      this.#board.count("absent");
      this.#board.send(connection, { type: "undelivered", to: message.to, id: message.id, reason: "absent" });
      return;
    }
    this.#board.count("signals");
    this.#board.counters.signalBytes += message.bytes.length;
    const bytes = encodeRelayed(stage.session.key, message.bytes);
    this.#board.put({ type: "send", connection: recipient.connection, bytes });
  }
}
