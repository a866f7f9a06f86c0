/** What a signaling server counts; every refusal and every kind of bad input has a name here. */
export const COUNTERS = [
  /** Connections admitted past the bounds on their number and rate. */
  "connections",
  /** Connections refused: the server is full, or has too many that have not logged in. */
  "connectionsRefusedFull",
  /** Connections refused: too many from one address. */
  "connectionsRefusedAddress",
  /** Connections refused: too fast from one address. */
  "connectionsRefusedRate",
  /** Connections cut because they did not log in in time. */
  "loginTimeouts",
  /** Logins handed to the authority. */
  "logins",
  /** Sessions that have begun, by a login or a ticket. */
  "welcomes",
  /** Logins that it refused. */
  "loginsRefused",
  /** Tickets sealed for members to come back with, those who came back with one, and tickets that were not taken or not given. */
  "tickets",
  "resumed",
  "ticketsRefused",
  /** Sealed requests handed to a desk, the server's own or a member's. */
  "exchanges",
  /** Requests for a desk that is not here, or is asked too much. */
  "exchangesRefused",
  /** Requests that a desk left without an answer. */
  "exchangesUnanswered",
  /** Desks that members have handed in, and that the authority has accepted. */
  "desks",
  /** Desks that it has not. */
  "desksRefused",
  /** Sessions ended by a newer one of the same key. */
  "fenced",
  /** Sessions ended because their token expired. */
  "expired",
  /** Sessions ended because their member, token or issuing key was revoked. */
  "revoked",
  "renewals",
  "renewalsRefused",
  /** Lines of tokens that were ended because two had used one refresh key. */
  "refreshReused",
  /** Signals handed on, and their bytes. */
  "signals",
  "signalBytes",
  /** Signals to somebody who is not here. */
  "absent",
  /** Messages dropped because their sender was over its rate. */
  "rateLimited",
  /** Connections cut because they went on all the same. */
  "floods",
  /** Connections cut for bytes that are no message. */
  "malformed",
  /** Connections cut for messages above the size, also before their end has arrived. */
  "oversize",
  /** Connections cut for text, bad frames, bad UTF-8 or anything else that WebSocket forbids. */
  "protocolErrors",
  /** Connections cut for a message out of turn. */
  "unexpected",
  /** Connections cut because they did not read. */
  "slowReaders",
  /** Connections cut because nothing was heard from them. */
  "silent",
  /** Records not kept because the store for them was full. */
  "recordsNotKept",
  "goodbyes",
] as const;

export type Counter = (typeof COUNTERS)[number];

/** How often each has happened since the start. */
export type Counters = Record<Counter, number>;
