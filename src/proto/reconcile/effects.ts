import type { IdList } from "./id-list.ts";
import type { Answer, Request } from "./messages.ts";

/**
 * What a peer has done that no honest peer does. Each ends the exchange; the caller drops the peer.
 *
 * - `malformed`: not a message, or values that contradict each other.
 * - `unsolicited`: an answer to nothing, or of a kind that was not asked for.
 * - `undecodable`: cells without end that never decode.
 * - `inconsistent`: cells that decode to one leaf twice or to more leaves than cells; findings that repeat or exceed
 *   what can be.
 * - `misplaced`: ids outside the leaves that they are said to be in.
 * - `endless`: more messages than any exchange takes.
 */
export type ReconcileFault = "malformed" | "unsolicited" | "undecodable" | "inconsistent" | "misplaced" | "endless";

/** What either side of an exchange does to the world. */
export interface Outlet {
  send(message: Request | Answer): void;
  /** A part of what differs: ids that the peer has and we lack, and ids that we have and the peer lacks. */
  difference(missing: IdList, surplus: IdList): void;
}

/** What becomes of an exchange after an input. */
export type Course = "goes-on" | "over" | ReconcileFault;
