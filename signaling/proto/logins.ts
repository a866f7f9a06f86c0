import { assert } from "../../src/proto/assert.ts";
import { hex } from "../../src/proto/bytes.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { type Random, randomBytes } from "../../src/proto/random.ts";
import { signalingLimits } from "../../src/proto/signaling/limits.ts";
import { loginStatement } from "../../src/proto/signaling/login.ts";
import { type ClientMessage, type LoginProof, SIGNALING_VERSION } from "../../src/proto/signaling/messages.ts";
import { decodeResumption } from "../../src/proto/signaling/resumption.ts";
import type { Desks } from "./desks.ts";
import type { Admission, Connection, Grants, Introduced, Refusal, Stage } from "./events.ts";
import type { RoomsLimits } from "./limits.ts";
import type { Presence } from "./presence.ts";
import { Replays } from "./replays.ts";
import { beginSession, type Session } from "./room.ts";
import type { Switchboard } from "./switchboard.ts";
import { checked } from "./verdict.ts";

/**
 * How a connection becomes a session: by a login, which signs the challenge, or by a ticket of an earlier login that came along with the
 * hello. A ticket that is not taken leads to the challenge, as if there had been none.
 *
 * A key has one session, the newest. The other is shown the login that ended it, whose signature it can check. A ticket proves nothing
 * to others: it ends only a session of the same run of the same agent, which believes that without a signature. Where the session
 * is another run's, whoever has the ticket must log in.
 */
export class Logins {
  readonly #names: readonly string[];
  readonly #random: Random;
  readonly #limits: RoomsLimits;
  readonly #board: Switchboard;
  readonly #presence: Presence;
  readonly #desks: Desks;
  readonly #grants: Grants;
  readonly #replays: Replays;

  constructor(parts: {
    readonly names: readonly string[];
    readonly random: Random;
    readonly limits: RoomsLimits;
    readonly board: Switchboard;
    readonly presence: Presence;
    readonly desks: Desks;
    readonly grants: Grants;
    readonly startedAt: Instant | undefined;
  }) {
    this.#replays = new Replays(parts.startedAt);
    this.#names = parts.names;
    this.#random = parts.random;
    this.#limits = parts.limits;
    this.#board = parts.board;
    this.#presence = parts.presence;
    this.#desks = parts.desks;
    this.#grants = parts.grants;
  }

  /** The first message; `resumption`: what the request carried besides. */
  greet(
    connection: Connection,
    stage: Extract<Stage, { at: "connected" }>,
    message: ClientMessage,
    resumption: Uint8Array | undefined,
    now: Instant,
  ): void {
    if (message.type === "foreign-hello") {
      const detail = `this server speaks version ${SIGNALING_VERSION}`;
      this.#board.refuse(connection, "loginsRefused", "version", detail);
      return;
    }
    if (message.type !== "hello") {
      this.#board.refuse(connection, "unexpected", "unexpected", `${message.type} is out of turn`);
      return;
    }
    const { cluster, peer, serverName } = message;
    if (!this.#names.includes(serverName)) {
      const detail = `this server goes by the name ${this.#names[0]}: use it in the URL, or start the server with the other name too`;
      this.#board.refuse(connection, "loginsRefused", "server-name", detail);
      return;
    }
    // Copied: the message is a view of a buffer that the driver shares with others.
    const instance = new Uint8Array(message.instance);
    const introduced = { cluster, peer, instance, serverName };
    if (resumption === undefined || !this.#resume(connection, stage.loginBy, introduced, resumption, now))
      this.#challenge(connection, stage.loginBy, introduced, now);
  }

  /** Hands a ticket to the authority; false when it is not even worth that. */
  #resume(connection: Connection, loginBy: Instant, introduced: Introduced, raw: Uint8Array, now: Instant): boolean {
    const { cluster, peer, instance } = introduced;
    const resumption = decodeResumption(raw);
    const rival = this.#presence.session(cluster, peer);
    const isOurs = rival === undefined || rival.run === hex(instance);
    if (resumption === undefined || !isOurs || !this.#replays.allows(peer, resumption.at, now)) {
      this.#board.count("ticketsRefused");
      return false;
    }
    connection.stage = { ...introduced, at: "resuming", loginBy, madeAt: resumption.at };
    const request = { ...introduced, ...resumption, address: connection.address };
    this.#board.put({ type: "resume", connection: connection.id, request });
    return true;
  }

  /** The authority's word on a ticket; undefined when it does not hold. */
  resumed(connection: Connection, answer: Admission | undefined, now: Instant): void {
    const { stage } = connection;
    assert(stage.at === "resuming", "the authority answers once for each ticket");
    const { loginBy, madeAt, cluster, peer, instance, serverName } = stage;
    const verdict = answer && checked(answer, peer);
    // Another session may have begun, and another of these been taken, while the authority was asked.
    const rival = this.#presence.session(cluster, peer);
    const isOurs = rival === undefined || rival.run === hex(instance);
    if (!verdict?.ok || !isOurs || !this.#replays.allows(peer, madeAt, now)) {
      this.#board.count("ticketsRefused");
      this.#challenge(connection, loginBy, { cluster, peer, instance, serverName }, now);
      return;
    }
    this.#replays.took(peer, madeAt, now);
    this.#board.count("resumed");
    // Its own run takes the name for it, and needs no proof.
    const proof = { nonce: NO_NONCE, serverName, instance, at: madeAt, signature: NO_SIGNATURE };
    this.#welcome(connection, cluster, proof, verdict, now);
  }

  #challenge(connection: Connection, loginBy: Instant, introduced: Introduced, now: Instant): void {
    const nonce = randomBytes(this.#random, signalingLimits.nonceBytes);
    connection.stage = { ...introduced, at: "challenged", loginBy, exchanged: false, nonce };
    const { cluster, serverName } = introduced;
    const desks = this.#desks.listed(cluster);
    const version = SIGNALING_VERSION;
    this.#board.send(connection, { type: "challenge", version, nonce, serverName, serverTime: now, desks });
  }

  /** The answer to a challenge: the authority is asked. */
  login(
    connection: Connection,
    stage: Extract<Stage, { at: "challenged" }>,
    message: Extract<ClientMessage, { type: "login" }>,
    now: Instant,
  ): void {
    const { cluster, peer, nonce, serverName, instance } = stage;
    const proof = { nonce, serverName, instance, at: message.at, signature: new Uint8Array(message.signature) };
    connection.stage = { at: "verifying", verifyBy: now + this.#limits.verifyMs, cluster, peer, proof };
    this.#board.arm(connection);
    this.#board.count("logins");
    const statement = loginStatement(cluster, peer, proof);
    const request = { cluster, peer, statement, token: message.token, address: connection.address };
    this.#board.put({ type: "authenticate", connection: connection.id, request });
  }

  /** The authority's word on a login. */
  authenticated(connection: Connection, answer: Admission | Refusal, now: Instant): void {
    const { stage } = connection;
    assert(stage.at === "verifying", "the authority answers once for each login");
    const verdict = checked(answer, stage.peer);
    if (!verdict.ok) {
      const { code, detail } = verdict;
      // The server's own trouble is no mark against the address.
      if (code !== "unavailable") this.#board.blame(connection, now);
      this.#board.refuse(connection, "loginsRefused", code, detail ?? "");
      return;
    }
    this.#welcome(connection, stage.cluster, stage.proof, verdict, now);
  }

  #welcome(connection: Connection, cluster: string, proof: LoginProof, verdict: Admission, now: Instant): void {
    const { subject: peer, expiresAt, issuers } = verdict;
    const session = beginSession(connection.id, peer, hex(proof.instance), verdict);
    const rival = this.#presence.session(cluster, peer);
    if (rival !== undefined) this.#fence(rival, proof);
    const room = this.#presence.join(cluster, session);
    connection.stage = { at: "present", room, session, noticed: false, renewing: false };
    this.#board.settle(connection);
    this.#board.hear(connection, now);
    this.#board.arm(connection);
    this.#board.count("welcomes");
    this.#board.put({ type: "joined", connection: connection.id, cluster, peer });
    const introductions = room.introductions(this.#limits.welcomeIntroductions, session, this.#random);
    const iceServers = this.#grants(peer, now);
    this.#board.send(connection, { type: "welcome", expiresAt, issuers, introductions, iceServers });
  }

  /** The newest session of a key wins; the other is shown the login that ended it. */
  #fence(rival: Session, proof: LoginProof): void {
    const connection = this.#board.connection(rival.connection);
    assert(connection !== undefined, "a session in a room has its connection");
    this.#board.fault("fenced", connection.address, rival.peer);
    this.#board.send(connection, { type: "fenced", rival: proof });
    this.#board.close(connection, 1008);
  }
}

const NO_NONCE = new Uint8Array(signalingLimits.nonceBytes);
const NO_SIGNATURE = new Uint8Array(64);
