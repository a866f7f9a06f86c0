import type { Rate } from "../../src/proto/token-bucket.ts";

/** Bounds of one signaling server; each can be set when it starts. Bounds of the wire stand in `src/proto/signaling/limits.ts`. */
export interface RoomsLimits {
  /** Connections open at once, logged in or not. */
  readonly connections: number;
  /** Connections that have not logged in yet. */
  readonly pending: number;
  /** Connections open at once from one address (IPv6: one /64). */
  readonly connectionsPerAddress: number;
  /** Of these, connections that have not logged in yet. */
  readonly pendingPerAddress: number;
  /** New connections from one address. */
  readonly attemptsPerAddress: Rate;
  /** What a refused login costs its address, in attempts. */
  readonly refusedLoginCost: number;
  /** Addresses whose rate is remembered; the one seen longest ago is forgotten beyond. */
  readonly addresses: number;
  /** From the first byte of the connection to the login, ms. */
  readonly loginMs: number;
  /** How long the authority may take for a login, ms. */
  readonly verifyMs: number;
  /** How long a desk may take for a request, ms. */
  readonly exchangeMs: number;
  /** Requests of strangers to one member's desk, answered or not. */
  readonly asks: Rate;
  /** Desks of members in one cluster. */
  readonly desks: number;
  /** Silence after which a member is pinged, ms. */
  readonly pingAfterMs: number;
  /** Silence after a ping that ends the session, ms. */
  readonly pongMs: number;
  /** Messages of one member; each 4 KiB begun counts as one more. */
  readonly messages: Rate;
  /** What a renewal costs, in messages. */
  readonly renewCost: number;
  /** What a question for a ticket costs, in messages. */
  readonly ticketCost: number;
  /** What a decree that a member hands over costs of its messages. */
  readonly decreeCost: number;
  /** Bytes queued to one connection; the driver reports a connection that has more. */
  readonly queuedBytes: number;
  /** How long before its token expires a member is told, ms. */
  readonly expiryNoticeMs: number;
  /** How long after its token has expired a session ends, ms. */
  readonly expiryLeewayMs: number;
  /** Bytes of all member records kept for introductions, on the whole server. */
  readonly recordBytes: number;
  /** Records in a welcome. */
  readonly welcomeIntroductions: number;
  /** How long agents are asked to stay away when the server closes, ms; each adds up to three times as much and 1 s, at random. */
  readonly reconnectAfterMs: number;
}

export const defaultRoomsLimits: RoomsLimits = {
  // A whole cluster of the size aimed at, twice.
  connections: 20_000,
  // What two cores verify in half a second; each may hold 8 KiB unread, together 16 MiB.
  pending: 2_048,
  // An office or a cloud behind one address.
  connectionsPerAddress: 1_024,
  pendingPerAddress: 256,
  // An office that comes back after an outage gets in within seconds; a scanner gets no more than a percent of a core.
  attemptsPerAddress: { perSecond: 50, burst: 400 },
  refusedLoginCost: 8,
  // About 100 bytes each.
  addresses: 8_192,
  // Three round trips of a bad mobile network.
  loginMs: 5_000,
  // A join token's use is written to disk first, and the disk may be busy.
  verifyMs: 10_000,
  // The same, at the end of one more path.
  exchangeMs: 10_000,
  // A hundred newcomers at once; a stranger who floods a desk costs its holder a percent of a core.
  asks: { perSecond: 20, burst: 200 },
  // A key for each server and administrator.
  desks: 15,
  // Agents speak every 6 s; a browser tab in the background may not, but its WebSocket answers pings.
  pingAfterMs: 15_000,
  pongMs: 15_000,
  // A newcomer negotiates with 16 members at once, about 10 signals each, twice.
  messages: { perSecond: 100, burst: 400 },
  // A renewal costs two Ed25519 operations, about 20 relayed signals.
  renewCost: 20,
  // One Diffie-Hellman, and for a token that was not seen before one Ed25519 operation.
  ticketCost: 10,
  // Most decrees are known, and cost a hash; a fresh one costs one Ed25519 operation.
  decreeCost: 0.25,
  // Sixteen signals of full size: more is a reader that has stopped.
  queuedBytes: 1_048_576,
  expiryNoticeMs: 60_000,
  // The leeway for clocks everywhere.
  expiryLeewayMs: 60_000,
  // About 16,000 records of usual size.
  recordBytes: 16_777_216,
  // Enough that some answer, few enough that a welcome stays below 16 KiB.
  welcomeIntroductions: 8,
  reconnectAfterMs: 1_000,
};
