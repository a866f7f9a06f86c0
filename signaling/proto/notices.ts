import type { Instant } from "../../src/proto/machine.ts";
import type { ClientMessage } from "../../src/proto/signaling/messages.ts";
import type { Connection, DecreeVerdict, Proclamation, Stage } from "./events.ts";
import type { RoomsLimits } from "./limits.ts";
import type { Room } from "./room.ts";
import type { Switchboard } from "./switchboard.ts";

/**
 * What members tell the server of the cluster's decrees. The authority checks and keeps them; whose token they void is sent away, and
 * is not let in again. What the authority's own issuer has decreed, the members are told.
 */
export class Notices {
  readonly #board: Switchboard;
  readonly #limits: RoomsLimits;

  constructor(board: Switchboard, limits: RoomsLimits) {
    this.#board = board;
    this.#limits = limits;
  }

  take(
    connection: Connection,
    { room }: Extract<Stage, { at: "present" }>,
    message: Extract<ClientMessage, { type: "compare" | "decrees" }>,
    now: Instant,
  ): void {
    const isComparison = message.type === "compare";
    // Each decree may cost a signature check.
    const cost = isComparison ? 1 : message.decrees.length * this.#limits.decreeCost;
    if (this.#board.charge(connection, cost, now) === "flood") return;
    const said = isComparison
      ? { sums: message.sums.slice() }
      : { decrees: message.decrees.map((decree) => decree.slice()) };
    this.#board.put({ type: "decree", connection: connection.id, notice: { cluster: room.cluster, ...said } });
  }

  answered(connection: Connection, { wanted, decreed, voids }: DecreeVerdict): void {
    const { stage } = connection;
    if (stage.at !== "present") return;
    if (wanted !== undefined) this.#board.send(connection, { type: "wanted", sums: wanted });
    if (decreed !== undefined) this.#board.send(connection, { type: "decreed", decrees: decreed });
    if (voids !== undefined) this.#sendAway(stage.room, voids);
  }

  /** A refresh key was used twice: all members are told, and who holds a token of its line is sent away. */
  proclaimed({ decreed, voids }: Proclamation, room: Room | undefined): void {
    this.#board.count("refreshReused");
    if (room === undefined) return;
    if (voids !== undefined) this.#sendAway(room, voids);
    for (const session of decreed.length === 0 ? [] : room.sessions()) {
      const connection = this.#board.connection(session.connection);
      if (connection !== undefined) this.#board.send(connection, { type: "decreed", decrees: decreed });
    }
  }

  #sendAway(room: Room, voids: NonNullable<DecreeVerdict["voids"]>): void {
    for (const session of [...room.sessions()]) {
      const other = voids(session) ? this.#board.connection(session.connection) : undefined;
      if (other !== undefined) this.#board.refuse(other, "revoked", "token-revoked", "this member was revoked");
    }
  }
}
