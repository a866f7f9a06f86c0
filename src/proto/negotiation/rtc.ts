/**
 * What Starling asks of a WebRTC stack, and what it wants to hear back. Drivers (`drivers/rtc.*.ts`) implement it, one
 * contract suite (`test/contract/rtc`) checks every implementation, and `createAgent({ rtc })` accepts an app's own.
 *
 * A connection carries exactly one reliable, ordered data channel. Everything it has to say is an {@link RtcEvent};
 * methods return nothing and never throw: what goes wrong is an event too. After `closed` no event follows.
 */

/** A STUN or TURN server, in the words of the W3C API. Always explicit: no driver may fall back to a public server. */
export interface IceServer {
  readonly urls: string | readonly string[];
  readonly username?: string;
  readonly credential?: string;
}

export interface RtcOptions {
  /** The side that creates the data channel and the offer. */
  readonly initiator: boolean;
  readonly iceServers: readonly IceServer[];
  /** `relay` uses TURN only, and needs a peer that offers a relay too where the stack cannot force it. Default `all`. */
  readonly iceTransportPolicy?: "all" | "relay";
  /** Addresses of loopback or tunnel interfaces to offer as well; most stacks skip them by themselves. */
  readonly extraAddresses?: readonly string[];
  /** Local UDP ports to use, both ends included; one or more for each connection. Default: any. */
  readonly portRange?: readonly [first: number, last: number];
  /**
   * Keeps the peer's candidates that are `.local` names (browser tabs on this network) and lets the stack resolve them, which
   * takes werift up to 10 s each. Default false: they are dropped.
   */
  readonly keepLocalNames?: boolean;
}

export type RtcEvent =
  /** Our description is ready to be sent. */
  | { readonly type: "description"; readonly kind: "offer" | "answer"; readonly sdp: string }
  /** A local candidate, `candidate:…` without `a=`. */
  | { readonly type: "candidate"; readonly candidate: string; readonly mid: string }
  /** ICE has found a working pair; DTLS begins. */
  | { readonly type: "ice-connected" }
  /** DTLS is up; the channel's handshake begins. A stack that cannot tell leaves it out. */
  | { readonly type: "dtls-connected" }
  /** The data channel is open: frames may be sent. */
  | { readonly type: "open" }
  | { readonly type: "frame"; readonly bytes: Uint8Array }
  /** `bufferedAmount` fell to `lowWaterMark` or below. */
  | { readonly type: "drained" }
  /** The end: nothing follows. `reason` is for logs. */
  | { readonly type: "closed"; readonly reason: string };

/** One end of one connection. */
export interface RtcConnection {
  /** Initiator: creates the channel and the offer, gathers candidates. */
  offer(): void;
  /** Answerer: applies the offer and answers. */
  answer(offer: string): void;
  /** Initiator: applies the answer. */
  accept(answer: string): void;
  /** Adds a remote candidate. */
  candidate(candidate: string, mid: string): void;
  /**
   * Hands one frame (1 byte to 64 KiB) to the stack, which may keep a reference: do not touch `frame` afterwards.
   * False when the channel is not open (any more).
   *
   * Until the initiator has received its first frame it sends one only, as admission does: node-datachannel may swap frames
   * that reach an answerer while it registers for them.
   */
  send(frame: Uint8Array): boolean;
  /** Bytes handed to `send` that the stack still holds, as far as the stack tells. */
  readonly bufferedAmount: number;
  /** `drained` fires when `bufferedAmount` falls to this. Default 0. */
  lowWaterMark: number;
  /**
   * SHA-256 fingerprint of the certificate that the peer presented in DTLS (32 bytes), where the stack tells; undefined
   * where it only enforces the fingerprint of the SDP.
   */
  remoteFingerprint(): Uint8Array | undefined;
  /** The chosen candidate pair; undefined before ICE has connected. */
  selectedPair(): CandidatePair | undefined;
  /** Ends the connection at once; `closed` follows. Idempotent. */
  close(): void;
}

export interface CandidatePair {
  readonly local: CandidateSummary;
  readonly remote: CandidateSummary;
}

export interface CandidateSummary {
  readonly kind: "host" | "srflx" | "prflx" | "relay";
  /** `address:port`, IPv6 in brackets. */
  readonly address: string;
}
