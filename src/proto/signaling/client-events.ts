import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Sign, Signature, Verified, Verify } from "../signed.ts";
import type { IceGrant, RefusalCode, ServerMessage, UndeliveredReason } from "./messages.ts";

/** What goes into and comes out of a {@link SignalingClient}. */

/** One run of an agent, shared by its clients of all servers. */
export interface AgentRun {
  /** 16 bytes that no other run has: `instanceOf` of the share, or random where there is none. */
  readonly instance: Uint8Array;
  /** Default: none, so that each connection is a login. */
  readonly share?: RunShare;
  /** When it started, by the agent's own clock. */
  readonly startedAt: Instant;
}

/** The X25519 key of one run, for tickets of servers (`resumption.ts`). */
export interface RunShare {
  readonly publicKey: Uint8Array;
  /** The 32 bytes that both shares have in common; undefined for a share that is unusable. */
  agree(share: Uint8Array): Uint8Array | undefined;
}

/** A ticket as it came, and what the two shares have in common. */
export interface AgreedShare extends Omit<Extract<ServerMessage, { type: "ticket" }>, "type"> {
  readonly agreed: Uint8Array;
}

/** What the agent holds for its admission. */
export type HeldCredential =
  /** To be exchanged for a member token at an issuer's desk. */
  | { readonly kind: "join"; readonly token: string }
  /** `expiresAt` by the issuer's clock: past it and the leeway the token is taken to a desk too, where it buys a renewal. */
  | { readonly kind: "member"; readonly token: string; readonly expiresAt: Instant };

/** Numbers the connections of one client; what arrives for an earlier one is ignored. */
export type Attempt = number;

/** What comes back with the signature of a login. */
export interface LoginResume {
  readonly attempt: Attempt;
  /** The time that was signed. */
  readonly at: Instant;
}

export type SignalingInput =
  | { readonly type: "timeout" }
  /** The WebSocket is open. `heard`: the server has taken the hello that came with the request. `tickets`: it offers some. */
  | { readonly type: "opened"; readonly attempt: Attempt; readonly heard?: boolean; readonly tickets?: boolean }
  /** One binary message. Text or anything else that is none is reported as `closed`. */
  | { readonly type: "received"; readonly attempt: Attempt; readonly bytes: Uint8Array }
  /** The WebSocket could not be opened, or is closed. */
  | { readonly type: "closed"; readonly attempt: Attempt; readonly reason: string }
  | Signature<LoginResume>
  /** The answer to `seek-desk`: a request for the desk of `kid`, sealed. */
  | { readonly type: "request"; readonly attempt: Attempt; readonly kid: string; readonly bytes: Uint8Array }
  /** The answer to `seek-desk`: none of the desks can be used. */
  | { readonly type: "no-desk"; readonly attempt: Attempt; readonly detail: string }
  /** The answer to `unseal`: what a desk said. */
  | {
      readonly type: "unsealed";
      readonly attempt: Attempt;
      readonly answer:
        | { readonly ok: true; readonly token: string; readonly expiresAt: Instant }
        | { readonly ok: false; readonly code: RefusalCode; readonly detail: string };
    }
  | Verified<"fenced">
  /** The answer to `agree`; when the server's share is unusable nothing is answered. */
  | ({ readonly type: "agreed" } & AgreedShare)
  /** The agent holds another credential; a client that was stopped by a refusal tries again with it. */
  | { readonly type: "credential"; readonly credential: HeldCredential }
  /** Our own signed record (1 byte to 8 KiB), for introductions; kept, and presented again after each login. */
  | { readonly type: "present"; readonly record: Uint8Array }
  /** Our own signed desk, for those who need an issuer; kept, and handed in again after each login. */
  | { readonly type: "desk"; readonly desk: Uint8Array }
  /** Our desk's sealed answer to what was `asked`. */
  | { readonly type: "answer"; readonly attempt: Attempt; readonly id: number; readonly bytes: Uint8Array }
  /** Hand `bytes` (sealed, at most 64 KiB) to `to`; `id` (32 bits) comes back if that fails. */
  | { readonly type: "signal"; readonly to: PeerId; readonly bytes: Uint8Array; readonly id: number }
  /** Ask for the records of `count` members, 1 to 16. */
  | { readonly type: "introduce"; readonly count: number }
  /** Ask for the STUN and TURN servers again. */
  | { readonly type: "ice" }
  /** Say what the cluster has decreed, as sums over its parts; `wanted` follows if the server lacks some. */
  | { readonly type: "compare"; readonly sums: Uint8Array }
  /** Hand over decrees, 64 KiB at most. */
  | { readonly type: "decrees"; readonly decrees: readonly Uint8Array[] }
  /** Ask for a new token in place of this one. */
  | { readonly type: "renew"; readonly token: string }
  /** The network has changed, or patience has ended: try at once, or find out at once whether the server is there. */
  | { readonly type: "nudge" }
  /** Say goodbye and stop for good. */
  | { readonly type: "leave" };

/** Why a client is not connected at present. */
export type OfflineReason =
  /** Could not connect, or the connection broke. */
  | "closed"
  /** The server did not answer in time. */
  | "timed-out"
  /** Refused for a reason that may pass. */
  | "refused"
  /** The server closes and has said so. */
  | "going-away"
  /** The server broke the protocol; a `fault` has said how. */
  | "fault"
  /** Another session of our key took our place, or is said to. */
  | "fenced";

/** How a server misbehaves. */
export type SignalingFault =
  | "malformed"
  | "unexpected"
  /** It asks us to sign a login for another server. */
  | "foreign-challenge"
  /** It says that our key is in use elsewhere and cannot prove it. */
  | "false-fence"
  | "flood";

export type SignalingOutput =
  /** Open a WebSocket to the server, with `hello` and `resumption` in its request where that can be, and report it under this number. */
  | {
      readonly type: "connect";
      readonly attempt: Attempt;
      readonly hello: Uint8Array;
      readonly resumption?: Uint8Array;
    }
  | { readonly type: "transmit"; readonly attempt: Attempt; readonly bytes: Uint8Array }
  /** Close the WebSocket; nothing of it is listened to any more. */
  | { readonly type: "disconnect"; readonly attempt: Attempt }
  | Sign<LoginResume>
  /** `token` needs an issuer: check the desks, and seal a request for one of them. */
  | {
      readonly type: "seek-desk";
      readonly attempt: Attempt;
      readonly token: string;
      readonly desks: readonly Uint8Array[];
    }
  /** Open the answer of the desk that was asked; when it does not open, nothing is answered. */
  | { readonly type: "unseal"; readonly attempt: Attempt; readonly bytes: Uint8Array }
  /** A member token was issued to us, by whom only the token tells: to be kept. The login goes on with it. */
  | { readonly type: "issued"; readonly token: string; readonly expiresAt: Instant }
  /** Somebody asks our desk: answer with the same attempt and id. */
  | { readonly type: "asked"; readonly attempt: Attempt; readonly id: number; readonly bytes: Uint8Array }
  /** Agree with our run's share on what the ticket is bound to. */
  | ({ readonly type: "agree" } & Omit<AgreedShare, "agreed">)
  /** `from` is our own id: a server has none. Nobody is to be blamed when it fails. */
  | Verify<"fenced">
  /** Logged in. */
  | {
      readonly type: "ready";
      readonly expiresAt: Instant;
      /** The cluster's signed list of issuing keys; unchecked. */
      readonly issuers: Uint8Array;
      /** Records of a few members; unchecked. */
      readonly introductions: readonly Uint8Array[];
      readonly iceServers: readonly IceGrant[];
    }
  /** Not connected: `detail` is for people; the next attempt is at `retryAt`. */
  | {
      readonly type: "offline";
      readonly reason: OfflineReason;
      readonly detail: string;
      readonly code?: RefusalCode;
      readonly retryAt: Instant;
    }
  /** The end: somebody else has our key, or the server refuses what we have; see {@link SignalingClient}. */
  | {
      readonly type: "stopped";
      readonly reason: "identity-in-use" | RefusalCode;
      readonly detail: string;
      /** The server's clock minus ours, where it was measured: a wrong clock is a usual cause. */
      readonly skewMs?: number;
    }
  | { readonly type: "introduced"; readonly records: readonly Uint8Array[] }
  | { readonly type: "signal"; readonly from: PeerId; readonly bytes: Uint8Array }
  /** A signal was not handed on. `offline`: it was not even sent, take another way. */
  | {
      readonly type: "undelivered";
      readonly to: PeerId;
      readonly id: number;
      readonly reason: UndeliveredReason | "offline";
    }
  | {
      readonly type: "renewed";
      readonly token: string;
      readonly expiresAt: Instant;
      readonly iceServers: readonly IceGrant[];
    }
  | { readonly type: "granted"; readonly iceServers: readonly IceGrant[] }
  /** The server lacks decrees: those are its sums. */
  | { readonly type: "wanted"; readonly sums: Uint8Array }
  /** What the server's own issuer has decreed; unchecked. */
  | { readonly type: "decreed"; readonly decrees: readonly Uint8Array[] }
  | { readonly type: "unrenewed"; readonly code: RefusalCode; readonly detail: string }
  /** The session's token expires soon, by the server's clock. */
  | { readonly type: "expiring"; readonly expiresAt: Instant }
  /** The server's clock minus ours, first and whenever it changes by 100 ms. */
  | { readonly type: "skew"; readonly skewMs: number; readonly uncertaintyMs: number }
  | { readonly type: "fault"; readonly fault: SignalingFault };

/** What of a challenge is signed. */
export interface Challenge {
  readonly nonce: Uint8Array;
  readonly serverName: string;
}

/** How far a client has come. */
export type ClientStage =
  | { readonly at: "waiting"; readonly until: Instant }
  | { readonly at: "connecting"; readonly attempt: Attempt; readonly until: Instant; readonly since: Instant }
  /** A challenge is awaited, or a welcome where a ticket was shown. */
  | { readonly at: "greeting"; readonly attempt: Attempt; readonly until: Instant; readonly helloAt: Instant }
  /** A desk is asked for a member token; then the challenge is signed. */
  | { readonly at: "exchanging"; readonly attempt: Attempt; readonly until: Instant; readonly challenge: Challenge }
  /** The challenge is being signed; `token`, a member token, goes with it. */
  | { readonly at: "signing"; readonly attempt: Attempt; readonly until: Instant; readonly token: string }
  | { readonly at: "logging-in"; readonly attempt: Attempt; readonly until: Instant }
  | { readonly at: "ready"; readonly attempt: Attempt; readonly since: Instant }
  /** For good after `identity-in-use` and `left`; after a refusal until there is another credential or a nudge. */
  | { readonly at: "stopped"; readonly reason: "identity-in-use" | "left" | "refused" };

/** Whether the agent is told of this message as it is. */
export function isForAgent(message: ServerMessage): message is Extract<ServerMessage, { type: ForAgent }> {
  return (FOR_AGENT as readonly string[]).includes(message.type);
}

const FOR_AGENT = ["signal", "undelivered", "unrenewed", "wanted", "decreed", "expiring", "granted"] as const;
type ForAgent = (typeof FOR_AGENT)[number];
