import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import type { IceGrant, LoginProof, RefusalCode } from "../../src/proto/signaling/messages.ts";
import type { Resumption, ResumptionParty } from "../../src/proto/signaling/resumption.ts";
import type { Statement } from "../../src/proto/signed.ts";
import type { TokenBucket } from "../../src/proto/token-bucket.ts";
import type { Alarmed } from "./alarms.ts";
import type { Counter } from "./counters.ts";
import type { Room, Session } from "./room.ts";

/** What goes into and comes out of {@link Rooms}, and what it keeps of each connection. */

/**
 * The STUN and TURN servers that a member is granted at `now`, at most 8 with 8 URLs each. Pure: credentials are computed, not
 * looked up.
 */
export type Grants = (peer: PeerId, now: Instant) => readonly IceGrant[];

/** A number that the driver gives to each connection and never gives twice. */
export type ConnectionId = number;

/** Everything that the authority needs to decide on a login. All of it is unchecked. */
export interface LoginRequest {
  readonly cluster: string;
  readonly peer: PeerId;
  /** To be verified: the signature of `peer` over the challenge of this very connection. */
  readonly statement: Statement;
  /** A member token. */
  readonly token: string;
  /** Where the connection comes from, for logs and rate limits; never for trust. */
  readonly address: string;
}

/** Somebody comes back with a ticket. All of it is unchecked. */
export interface ResumeRequest extends ResumptionParty, Resumption {
  /** Where the connection comes from, for logs; never for trust. */
  readonly address: string;
}

/** A member that is logged in as this run of `peer` wants a ticket. */
export interface TicketRequest {
  readonly cluster: string;
  readonly peer: PeerId;
  readonly instance: Uint8Array;
  /** The X25519 key that `instance` is a hash of. */
  readonly share: Uint8Array;
  /** A member token; unchecked. */
  readonly token: string;
}

/** What brings a member back. */
export interface Ticket {
  /** The server's X25519 key. */
  readonly share: Uint8Array;
  readonly ticket: Uint8Array;
  readonly lifeMs: number;
}

/** A member that is logged in asks for a new token. */
export interface RenewalRequest {
  readonly cluster: string;
  readonly peer: PeerId;
  /** The token to be renewed; unchecked. */
  readonly token: string;
  readonly address: string;
}

/** Somebody who is not logged in asks the server's own desk. */
export interface ExchangeRequest {
  readonly cluster: string;
  readonly kid: string;
  /** Sealed for the desk. */
  readonly bytes: Uint8Array;
}

/** A member says that it has a desk. */
export interface DeskClaim {
  readonly cluster: string;
  readonly peer: PeerId;
  /** Signed by an issuing key; unchecked. */
  readonly desk: Uint8Array;
}

/** A signed desk, and the issuing key whose it is. */
export interface KnownDesk {
  readonly kid: string;
  readonly desk: Uint8Array;
}

/** What a member says that the cluster has decreed: sums to be compared, or decrees to be checked. */
export interface DecreeNotice {
  readonly cluster: string;
  readonly sums?: Uint8Array;
  readonly decrees?: readonly Uint8Array[];
}

/** The authority's answer: its own sums where it lacks something, what the other may lack, and whether a token is void by now. */
export interface DecreeVerdict {
  readonly wanted?: Uint8Array;
  /** What its own issuer has decreed, 1 to 16. Default: nothing that is worth a message. */
  readonly decreed?: readonly Uint8Array[];
  /** Absent: nothing has changed. */
  readonly voids?: (session: { readonly peer: PeerId; readonly names?: TokenNames }) => boolean;
}

/** By what a revocation names a token. */
export interface TokenNames {
  readonly id: string;
  readonly kid: string;
  /** Where it stands among those that it was renewed from. */
  readonly lineage?: { readonly family: string };
}

/** A desk of the server itself. */
export interface OwnDesk extends KnownDesk {
  readonly cluster: string;
}

/** The authority's no. */
export interface Refusal {
  readonly ok: false;
  readonly code: RefusalCode;
  /** For people: what to do about it, the skew where clocks differ, no secrets. At most 256 characters arrive. */
  readonly detail?: string;
}

/** The authority's yes to a login. */
export interface Admission {
  readonly ok: true;
  /** Whom the token names; another than the one that logs in is refused. */
  readonly subject: PeerId;
  /** When the token of the session (the issued one, if any) expires. */
  readonly expiresAt: Instant;
  readonly scopes: readonly string[];
  /** By what the token can be revoked. Default: only by its subject. */
  readonly names?: TokenNames;
  /** The cluster's signed list of issuing keys, at most 32 KiB. */
  readonly issuers: Uint8Array;
}

/** The authority's yes to a renewal. */
export interface Renewal {
  readonly ok: true;
  readonly subject: PeerId;
  readonly expiresAt: Instant;
  readonly scopes: readonly string[];
  readonly token: string;
  /** By what the new token can be revoked. Default: only by its subject. */
  readonly names?: TokenNames;
}

/** The authority's issuer has decreed something by itself: to be told to all members of the cluster. */
export interface Proclamation extends Pick<DecreeVerdict, "voids"> {
  readonly cluster: string;
  /** Empty where its key may not: then only this server knows. */
  readonly decreed: readonly Uint8Array[];
}

export type RoomsInput =
  | { readonly type: "proclaimed"; readonly proclamation: Proclamation }
  | { readonly type: "connected"; readonly connection: ConnectionId; readonly address: string }
  /** One whole binary message; its bytes are not touched by the driver for the duration of the call. */
  | {
      readonly type: "message";
      readonly connection: ConnectionId;
      readonly bytes: Uint8Array;
      /** With a hello that came in the request: what it carried besides, to come back with. */
      readonly resumption?: Uint8Array;
    }
  /** A WebSocket ping from the client, to be answered. */
  | { readonly type: "pinged"; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** The answer to a `ping`. */
  | { readonly type: "ponged"; readonly connection: ConnectionId }
  /** The transport itself was misused. */
  | {
      readonly type: "broken";
      readonly connection: ConnectionId;
      readonly fault: "oversize" | "protocol";
    }
  /** More than `queuedBytes` wait to be read by the client. */
  | { readonly type: "congested"; readonly connection: ConnectionId }
  | { readonly type: "disconnected"; readonly connection: ConnectionId }
  | { readonly type: "authenticated"; readonly connection: ConnectionId; readonly verdict: Admission | Refusal }
  /** The answer to `resume`; undefined when the ticket does not hold. */
  | { readonly type: "resumed"; readonly connection: ConnectionId; readonly verdict: Admission | undefined }
  /** The answer to `seal-ticket`; undefined when there is none to be had. */
  | { readonly type: "ticket-sealed"; readonly connection: ConnectionId; readonly ticket: Ticket | undefined }
  | { readonly type: "renewed"; readonly connection: ConnectionId; readonly verdict: Renewal | Refusal }
  /** The answer of the server's own desk; undefined when it has none to give. */
  | { readonly type: "exchanged"; readonly connection: ConnectionId; readonly bytes: Uint8Array | undefined }
  /** The authority's word on a member's desk; undefined when it is not that member's, or nobody's. */
  | { readonly type: "desk-checked"; readonly connection: ConnectionId; readonly desk: KnownDesk | undefined }
  /** The answer to a `decree`. */
  | { readonly type: "decreed"; readonly connection: ConnectionId; readonly verdict: DecreeVerdict }
  /** The server closes: everybody is sent away, nobody is let in. */
  /** The server's own desks are others. */
  | { readonly type: "desks"; readonly desks: readonly OwnDesk[] }
  | { readonly type: "drain" }
  | { readonly type: "timeout" };

export type RoomsOutput =
  | { readonly type: "send"; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  | { readonly type: "ping"; readonly connection: ConnectionId }
  | { readonly type: "pong"; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /**
   * End the connection; `disconnected` follows. `abrupt` ends it now and loses what is queued; else the close frame follows what is
   * queued and the driver waits a little for the answer.
   */
  | {
      readonly type: "close";
      readonly connection: ConnectionId;
      readonly code: CloseCode;
      readonly abrupt: boolean;
    }
  | { readonly type: "authenticate"; readonly connection: ConnectionId; readonly request: LoginRequest }
  | { readonly type: "resume"; readonly connection: ConnectionId; readonly request: ResumeRequest }
  | { readonly type: "seal-ticket"; readonly connection: ConnectionId; readonly request: TicketRequest }
  | { readonly type: "renew"; readonly connection: ConnectionId; readonly request: RenewalRequest }
  | { readonly type: "exchange"; readonly connection: ConnectionId; readonly request: ExchangeRequest }
  | { readonly type: "decree"; readonly connection: ConnectionId; readonly notice: DecreeNotice }
  | { readonly type: "check-desk"; readonly connection: ConnectionId; readonly claim: DeskClaim }
  /** Presence, for the driver's logs and for bounds that hold only before the login. */
  | { readonly type: "joined"; readonly connection: ConnectionId; readonly cluster: string; readonly peer: PeerId }
  | { readonly type: "left"; readonly connection: ConnectionId; readonly cluster: string; readonly peer: PeerId }
  /** Somebody misbehaves or is refused; already counted. For one rate-limited line. */
  | {
      readonly type: "fault";
      readonly address: string;
      readonly fault: Counter;
      readonly peer?: PeerId;
      /** Why a login was refused. */
      readonly code?: RefusalCode;
    };

/** WebSocket close codes (RFC 6455, section 7.4.1): normal, going away, policy violation. */
export type CloseCode = 1000 | 1001 | 1008;

/** What a connection has said in its hello. */
export type Introduced = ResumptionParty;

/** And what it was challenged with. */
export interface Greeting extends Introduced {
  readonly nonce: Uint8Array;
}

/** How far a connection has come. */
export type Stage =
  | { readonly at: "connected"; readonly loginBy: Instant }
  | ({
      readonly at: "challenged";
      readonly loginBy: Instant;
      /** A desk was asked already. */
      readonly exchanged: boolean;
    } & Greeting)
  /** The authority is asked about a ticket, which says that it was shown at `madeAt`. */
  | ({ readonly at: "resuming"; readonly loginBy: Instant; readonly madeAt: Instant } & Introduced)
  /** A desk is asked: the server's own, or that of the member on the connection `holder`. */
  | ({
      readonly at: "exchanging";
      readonly exchangeBy: Instant;
      readonly holder: ConnectionId | undefined;
    } & Greeting)
  /** The authority is asked. `proof` is what a session of the same key will be shown if this login succeeds. */
  | {
      readonly at: "verifying";
      readonly verifyBy: Instant;
      readonly cluster: string;
      readonly peer: PeerId;
      readonly proof: LoginProof;
    }
  | {
      readonly at: "present";
      readonly room: Room;
      readonly session: Session;
      /** Whether its token's end was announced, and whether the authority is being asked for another. */
      readonly noticed: boolean;
      readonly renewing: boolean;
    }
  /** Told to close; whatever still arrives is ignored. */
  | { readonly at: "closing" };

export interface Connection extends Alarmed {
  readonly id: ConnectionId;
  readonly address: string;
  readonly messages: TokenBucket;
  stage: Stage;
  /** Whether its login succeeded at some time: it no longer counts as pending. */
  settled: boolean;
  heardAt: Instant;
  /** When it was pinged, if nothing was heard since. */
  pingedAt: Instant | undefined;
}
