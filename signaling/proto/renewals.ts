import { assert } from "../../src/proto/assert.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { Connection, Grants, Refusal, Renewal, Stage } from "./events.ts";
import type { RoomsLimits } from "./limits.ts";
import type { Switchboard } from "./switchboard.ts";
import { checked } from "./verdict.ts";

/** Members that are logged in and ask for another token in place of theirs: the authority is asked, once at a time. */
export class Renewals {
  readonly #board: Switchboard;
  readonly #limits: RoomsLimits;
  readonly #grants: Grants;

  constructor(board: Switchboard, limits: RoomsLimits, grants: Grants) {
    this.#board = board;
    this.#grants = grants;
    this.#limits = limits;
  }

  ask(connection: Connection, stage: Extract<Stage, { at: "present" }>, token: string, now: Instant): void {
    // One at a time: the answer to the first is on its way.
    if (stage.renewing || this.#board.charge(connection, this.#limits.renewCost, now) === "flood") return;
    connection.stage = { ...stage, renewing: true };
    const { room, session } = stage;
    const request = { cluster: room.cluster, peer: session.peer, token, address: connection.address };
    this.#board.put({ type: "renew", connection: connection.id, request });
  }

  answered(connection: Connection, answer: Renewal | Refusal, now: Instant): void {
    const { stage } = connection;
    assert(stage.at === "present" && stage.renewing, "the authority answers once for each renewal");
    const { session } = stage;
    const verdict = checked(answer, session.peer);
    if (!verdict.ok) {
      const { code, detail } = verdict;
      this.#board.fault("renewalsRefused", connection.address, session.peer, code);
      connection.stage = { ...stage, renewing: false };
      this.#board.send(connection, { type: "unrenewed", code, detail: detail ?? "" });
      return;
    }
    const { token, expiresAt, scopes, names } = verdict;
    session.expiresAt = expiresAt;
    session.scopes = scopes;
    if (names !== undefined) session.names = names;
    // A token that lives no longer than the notice would be renewed without end if its end were announced again.
    const noticed = expiresAt - now <= this.#limits.expiryNoticeMs;
    connection.stage = { ...stage, renewing: false, noticed };
    this.#board.arm(connection);
    this.#board.count("renewals");
    const iceServers = this.#grants(session.peer, now);
    this.#board.send(connection, { type: "renewed", token, expiresAt, iceServers });
  }
}
