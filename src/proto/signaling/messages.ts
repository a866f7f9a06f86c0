import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { ScanFault } from "../wire/scan.ts";

/**
 * What an agent and a signaling server say to each other, version 1.
 *
 *     agent                                server
 *     hello(versions, cluster, peer)  →
 *                                     ←    challenge(version, nonce, server name, time, desks)
 *     exchange(kid, sealed)           →                                        only without a valid member token
 *                                     ←    exchanged(sealed)
 *     login(signature, member token)  →
 *                                     ←    welcome(issuers, introductions, ICE servers)
 *     present, desk, answer, introduce, signal, renew, ice, time, compare, decrees, seek, goodbye  →
 *                                     ←    introductions, signal, undelivered, asked, wanted, renewed, unrenewed, time,
 *                                          granted, expiring, decreed, ticket, fenced, refused, going-away
 *
 * A login shows a member token, which is worthless without the key that signs the login. A join token, or a member token
 * that has expired, is never shown to a server: it travels sealed to an issuer's desk (`trust/desk.ts`, `trust/exchange.ts`),
 * which is the server's own where it holds an issuing key, or that of a member that is logged in and is *asked*.
 *
 * The hello may come with the request that opens the WebSocket, in base64url in the header {@link HELLO_HEADER}; a server that has
 * taken it says so by the same header in its answer, and its challenge follows at once. That spares every login a
 * round trip. Browsers, which set no headers, and those whose proxy drops it say hello in a message. A second header may carry a
 * ticket of an earlier login (`resumption.ts`): where it is taken, the welcome follows in place of the challenge.
 *
 * Each message is one binary WebSocket message: a msgpack array `[kind, …]` of exactly the stated length. Records, signals
 * and the list of issuers are opaque here: their readers check them. The kinds of the two directions are disjoint, so that
 * an echoed message is an error and nothing else.
 *
 * Room to grow: a new version is negotiated in the hello, of which only the kind and the versions are fixed for ever. ICE
 * servers travel in `welcome`, `renewed` and, where their credentials end before the token does, `granted`. Roles and scopes travel inside the tokens, which the server's authority reads.
 */

/** The version that this code speaks. */
export const SIGNALING_VERSION = 1;

/** The header in which a request carries a hello, and what it says in the answer. */
export const HELLO_HEADER = "starling-hello";
export const HELLO_TAKEN = "taken";

/** First items of the messages on the wire. */
export const Kind = {
  hello: 1,
  login: 2,
  present: 3,
  introduce: 4,
  signal: 5,
  renew: 6,
  time: 7,
  goodbye: 8,
  exchange: 9,
  desk: 10,
  answer: 11,
  ice: 12,
  compare: 13,
  decrees: 14,
  seek: 15,
  challenge: 64,
  welcome: 65,
  introductions: 66,
  relayed: 67,
  undelivered: 68,
  renewed: 69,
  serverTime: 70,
  fenced: 71,
  refused: 72,
  goingAway: 73,
  expiring: 74,
  unrenewed: 75,
  exchanged: 76,
  asked: 77,
  granted: 78,
  wanted: 79,
  decreed: 80,
  ticket: 81,
} as const;

/** Time-limited access to a STUN or TURN server. */
export interface IceGrant {
  readonly urls: readonly string[];
  readonly username?: string;
  readonly credential?: string;
  /** When the credential ends, by the server's clock; absent for STUN. */
  readonly expiresAt?: Instant;
}

/** What the signature of a login covers, besides cluster and peer, and the signature. */
export interface LoginProof {
  readonly nonce: Uint8Array;
  readonly serverName: string;
  readonly instance: Uint8Array;
  /** When the agent signed, by its own clock, whole ms. */
  readonly at: Instant;
  readonly signature: Uint8Array;
}

export type ClientMessage =
  | {
      readonly type: "hello";
      readonly cluster: string;
      readonly peer: PeerId;
      /** Drawn once per run of the agent: tells its own reconnect from somebody else with its key. */
      readonly instance: Uint8Array;
      /** The name by which the agent knows this server, from its URL: signed, so that no other server can use the login. */
      readonly serverName: string;
    }
  /** A hello of which the sender speaks none of our versions; nothing else of it is read. */
  | { readonly type: "foreign-hello" }
  | {
      readonly type: "login";
      readonly at: Instant;
      readonly signature: Uint8Array;
      /** A member token. */
      readonly token: string;
    }
  /** Before the login: a sealed request for the desk of the issuing key `kid`. */
  | { readonly type: "exchange"; readonly kid: string; readonly bytes: Uint8Array }
  | { readonly type: "present"; readonly record: Uint8Array }
  | { readonly type: "introduce"; readonly count: number }
  | { readonly type: "signal"; readonly to: PeerId; readonly bytes: Uint8Array; readonly id: number }
  | { readonly type: "renew"; readonly token: string }
  /** Grant us the STUN and TURN servers again. */
  | { readonly type: "ice" }
  | { readonly type: "time"; readonly id: number }
  /** Our own signed desk: we answer requests that are sealed for it. */
  | { readonly type: "desk"; readonly desk: Uint8Array }
  /** The desk's sealed answer to the request `id`. */
  | { readonly type: "answer"; readonly id: number; readonly bytes: Uint8Array }
  /** What the cluster has decreed, as sums over its parts (`decrees/`): the server asks for what it lacks. */
  | { readonly type: "compare"; readonly sums: Uint8Array }
  /** What the server lacks, or some of it. */
  | { readonly type: "decrees"; readonly decrees: readonly Uint8Array[] }
  /** A ticket is wanted, for `token`, which is ours and valid; `share` is what our instance is a hash of. */
  | { readonly type: "seek"; readonly share: Uint8Array; readonly token: string }
  | { readonly type: "goodbye" };

/** Why a signal was not handed on: nobody of that name is here, or the sender is over its rate. */
export type UndeliveredReason = "absent" | "rate-limited";

export type ServerMessage =
  | {
      readonly type: "challenge";
      readonly version: number;
      readonly nonce: Uint8Array;
      readonly serverName: string;
      readonly serverTime: Instant;
      /** Signed desks of issuers that can be asked here; unchecked. */
      readonly desks: readonly Uint8Array[];
    }
  /** The desk's sealed answer. */
  | { readonly type: "exchanged"; readonly bytes: Uint8Array }
  | {
      readonly type: "welcome";
      /** When the session's token expires, by the server's clock. */
      readonly expiresAt: Instant;
      readonly issuers: Uint8Array;
      readonly introductions: readonly Uint8Array[];
      readonly iceServers: readonly IceGrant[];
    }
  | { readonly type: "introductions"; readonly records: readonly Uint8Array[] }
  | { readonly type: "signal"; readonly from: PeerId; readonly bytes: Uint8Array }
  /** Somebody who is not logged in asks our desk; `id` goes into the answer. */
  | { readonly type: "asked"; readonly id: number; readonly bytes: Uint8Array }
  | {
      readonly type: "undelivered";
      readonly to: PeerId;
      readonly id: number;
      readonly reason: UndeliveredReason;
    }
  | {
      readonly type: "renewed";
      readonly token: string;
      readonly expiresAt: Instant;
      readonly iceServers: readonly IceGrant[];
    }
  | { readonly type: "granted"; readonly iceServers: readonly IceGrant[] }
  /** The server's own sums, which differ from ours: hand over the decrees of the parts that do. */
  | { readonly type: "wanted"; readonly sums: Uint8Array }
  /** What the server's own issuer has decreed, 1 to 16. */
  | { readonly type: "decreed"; readonly decrees: readonly Uint8Array[] }
  /** `share`: the server's own; `lifeMs`: for how long the ticket is taken at most. */
  | { readonly type: "ticket"; readonly share: Uint8Array; readonly ticket: Uint8Array; readonly lifeMs: number }
  | { readonly type: "unrenewed"; readonly code: RefusalCode; readonly detail: string }
  | { readonly type: "time"; readonly id: number; readonly serverTime: Instant }
  /** The session's token expires soon: the last call to renew. */
  | { readonly type: "expiring"; readonly expiresAt: Instant }
  /** A newer session of the same key has logged in; its login is the proof. */
  | { readonly type: "fenced"; readonly rival: LoginProof }
  | { readonly type: "refused"; readonly code: RefusalCode; readonly detail: string }
  | { readonly type: "going-away"; readonly reconnectAfterMs: number };

/** Bytes that are no message. */
export interface Malformed {
  readonly type: "malformed";
  readonly fault: ScanFault | "oversize" | "shape";
}

/**
 * Why a server ends or refuses a session. The order is for people; `final` codes do not get better by trying again with
 * the same credential.
 */
export const REFUSALS = {
  /** No common version. */
  version: "final",
  /** The server goes by other names than the agent's URL says. */
  "server-name": "final",
  /** Not a cluster of this server, or a credential of another cluster. */
  "cluster-unknown": "final",
  "signature-invalid": "final",
  "token-invalid": "final",
  /** The token belongs to another key. */
  "token-mismatch": "final",
  "token-expired": "final",
  "token-revoked": "final",
  /** A join token whose uses are spent. */
  "token-used": "final",
  /** Valid, but without the right. */
  "not-permitted": "final",
  /** The clocks of issuer and server differ, or the token begins later. */
  "token-not-yet-valid": "transient",
  malformed: "transient",
  unexpected: "transient",
  "login-timeout": "transient",
  "rate-limited": "transient",
  full: "transient",
  silent: "transient",
  /** The server cannot decide now. */
  unavailable: "transient",
  /** No issuer that may answer can be asked here. */
  "issuer-unreachable": "transient",
} as const satisfies Record<string, "final" | "transient">;

export type RefusalCode = keyof typeof REFUSALS;

/** The code that `text` names; undefined for any other. */
export function refusalCode(text: string): RefusalCode | undefined {
  return Object.hasOwn(REFUSALS, text) ? (text as RefusalCode) : undefined;
}
