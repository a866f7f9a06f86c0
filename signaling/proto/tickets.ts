import { hex } from "../../src/proto/bytes.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { ClientMessage } from "../../src/proto/signaling/messages.ts";
import { instanceOf } from "../../src/proto/signaling/resumption.ts";
import type { Connection, Stage, Ticket } from "./events.ts";
import type { RoomsLimits } from "./limits.ts";
import type { Switchboard } from "./switchboard.ts";

/** Members that are logged in and ask for a ticket to come back with: the authority seals it. Whoever gets none is not told, and logs in again. */
export class Tickets {
  readonly #board: Switchboard;
  readonly #limits: RoomsLimits;

  constructor(board: Switchboard, limits: RoomsLimits) {
    this.#board = board;
    this.#limits = limits;
  }

  ask(
    connection: Connection,
    { room, session }: Extract<Stage, { at: "present" }>,
    message: Extract<ClientMessage, { type: "seek" }>,
    now: Instant,
  ): void {
    if (this.#board.charge(connection, this.#limits.ticketCost, now) === "flood") return;
    const share = new Uint8Array(message.share);
    const instance = instanceOf(share);
    // The login's signature covers the name of the run: who is in the middle cannot have put in a share of its own.
    if (hex(instance) !== session.run) {
      this.#board.count("ticketsRefused");
      return;
    }
    const request = { cluster: room.cluster, peer: session.peer, instance, share, token: message.token };
    this.#board.put({ type: "seal-ticket", connection: connection.id, request });
  }

  /** The authority has sealed one; undefined when it does not. */
  sealed(connection: Connection, ticket: Ticket | undefined): void {
    if (connection.stage.at !== "present") return;
    if (ticket === undefined) {
      this.#board.count("ticketsRefused");
      return;
    }
    this.#board.count("tickets");
    this.#board.send(connection, { type: "ticket", ...ticket });
  }
}
