import type { LinkOptions } from "./channel.ts";

/** What goes into a {@link Link} and what comes out. Streams are named by number, lanes (0 to 3) included. */

/** Classes of application streams, below all lanes: a class is served only when those above it have nothing to send. */
export type StreamPriority = "interactive" | "normal" | "bulk";

/** Why a stream was not taken. `busy` and `too-many-streams` may pass; the others will not by themselves. */
export type RefusalReason = "unknown-protocol" | "forbidden" | "busy" | "too-many-streams" | "stopping";

/** Why a side ends a link on purpose. */
export type GoodbyeReason =
  /** The agent leaves the cluster or stops. */
  | "leaving"
  /** The overlay has no use for this link any more. */
  | "unwanted"
  /** Another link to the same peer takes its place. */
  | "replaced"
  /** The peer was revoked. */
  | "expelled"
  /** The peer's token has run out. */
  | "expired"
  /** The peer broke this protocol. */
  | "protocol";

/** Codes below 16 are the link's own; applications use 16 to 2^32 - 1. */
export const ResetCode = {
  /** Given up, for no reason the peer needs to know. */
  cancelled: 0,
  /** The peer sent beyond its credit. */
  creditExceeded: 1,
  /** The peer sent what makes no sense in the state of the stream. */
  protocol: 2,
  /** A message was longer than is allowed. */
  oversize: 3,
} as const;

/** Misbehaviour of the peer. */
export type LinkFault =
  /** Not a frame of this version, or a chunk that ends beyond its frame. */
  | "malformed-frame"
  | "unknown-op"
  | "malformed-control"
  /** A stream number that is reserved, never opened, or not the peer's to open. */
  | "wrong-stream"
  /** A known control in a state where it means nothing. */
  | "unexpected-control"
  /** A number opened twice or out of sequence. */
  | "bad-open"
  | "too-many-streams"
  | "credit-exceeded"
  /** A credit beyond all reason. */
  | "bad-credit"
  | "oversize-message"
  /** Pieces that do not add up to the announced message. */
  | "broken-message"
  /** Data after the end of its direction. */
  | "data-after-end"
  /** An acknowledgement that goes back or counts frames never sent. */
  | "bad-ack"
  /** More pings or refusable opens at once than deserve an answer. */
  | "flood";

/** What both sides know when a link goes on over another channel. */
export interface Attachment {
  /** Which side of the channel we are. */
  readonly role: "dialer" | "answerer";
  /** Numbered frames that the peer says it had when it agreed to this channel. */
  readonly received: number;
  /** `cut`: on either side the mesh took the link for down, so what lanes held is dropped on both. */
  readonly lanes: "kept" | "cut";
  /** How much its stack takes; as the channel before when left out. */
  readonly options?: LinkOptions;
}

export type LinkInput =
  /**
   * Queues a message on a lane, or on an application stream that is {@link Link.writable}. 0 bytes are a message too.
   * The link copies `bytes` at a later flush: do not change them before.
   */
  | { readonly type: "send"; readonly stream: number; readonly bytes: Uint8Array }
  /** A frame from the channel. It belongs to the link: messages that come out may be views of it. */
  | { readonly type: "frame"; readonly bytes: Uint8Array }
  /**
   * Emits as many frames as the path takes. `bufferedBytes`: what the stack reports as not sent; 0 where it does not
   * tell.
   */
  | { readonly type: "flush"; readonly bufferedBytes: number }
  /** As a flush, when {@link Link.deadline} has come. Without `bufferedBytes` the last figure holds. */
  | { readonly type: "timeout"; readonly bufferedBytes?: number }
  /** The application is done with `messages` of a stream, `bytes` together: the peer may send as much again. */
  | { readonly type: "consumed"; readonly stream: number; readonly messages: number; readonly bytes: number }
  /** Opens a stream; `opening` or `unopened` is the answer. `protocol`: 1 to 64 bytes. Default priority `normal`. */
  | { readonly type: "open"; readonly protocol: string; readonly priority?: StreamPriority }
  /** Takes a stream that the peer `opened`. The priority of what we send defaults to the opener's. */
  | { readonly type: "accept"; readonly stream: number; readonly priority?: StreamPriority }
  | { readonly type: "refuse"; readonly stream: number; readonly reason: RefusalReason }
  /** No message of ours follows on the stream; what is queued still goes. */
  | { readonly type: "end"; readonly stream: number }
  /** Ends the stream in both directions at once and drops what is queued. `code`: see {@link ResetCode}. */
  | { readonly type: "reset"; readonly stream: number; readonly code: number }
  /** Asks the peer for a sign of life; `pong` with the same `id` is the answer. */
  | { readonly type: "ping"; readonly id: number }
  /**
   * The channel is gone. What the peer may lack is kept for {@link SESSION_GRACE_MS}; messages on lanes are not taken
   * meanwhile, on streams until {@link MAX_RETAINED_BYTES} wait.
   */
  | { readonly type: "detach" }
  /** Goes on over another channel, whether the one before still works or not. */
  | ({ readonly type: "attach" } & Attachment)
  /** Asks for one `drained`, when nothing is queued and every numbered frame is acknowledged. */
  | { readonly type: "drain" }
  /**
   * Tells the peer why the link ends, ahead of everything queued. The driver closes the channel after the next flush.
   */
  | { readonly type: "goodbye"; readonly reason: GoodbyeReason };

export type LinkOutput =
  /**
   * Hand `bytes` to the channel, and do not change them: they may have to be repeated on another. `number`: its place in the count of numbered frames, else
   * 0.
   */
  | { readonly type: "frame"; readonly bytes: Uint8Array; readonly number: number }
  /** A message; `bytes` may be a view of a frame, which it keeps alive: copy what is to be kept for long. */
  | { readonly type: "message"; readonly stream: number; readonly bytes: Uint8Array }
  /**
   * Our open has this number; messages may be sent at once, {@link EARLY_CREDIT_BYTES} of them before it is accepted.
   */
  | { readonly type: "opening"; readonly stream: number; readonly protocol: string }
  /** Our open came to nothing: too many streams, or no numbers left (then the link must be replaced). */
  | { readonly type: "unopened"; readonly protocol: string; readonly reason: "too-many-streams" | "exhausted" }
  /** The peer opened a stream; `accept` or `refuse` it. Messages may follow before that. */
  | {
      readonly type: "opened";
      readonly stream: number;
      readonly protocol: string;
      readonly priority: StreamPriority;
    }
  | { readonly type: "accepted"; readonly stream: number }
  /** The peer did not take the stream; it is gone. */
  | { readonly type: "refused"; readonly stream: number; readonly reason: RefusalReason }
  /** No message of the peer's follows on the stream. */
  | { readonly type: "ended"; readonly stream: number }
  /** Both directions have ended; the stream is gone. */
  | { readonly type: "closed"; readonly stream: number }
  /** The peer, or a fault of the peer's, ended the stream at once; it is gone. */
  | { readonly type: "reset"; readonly stream: number; readonly code: number }
  /** The send queue was full and has room again. */
  | { readonly type: "writable"; readonly stream: number }
  /** A message of `bytes` found the queue of its lane full and was not sent. */
  | { readonly type: "dropped"; readonly stream: number; readonly bytes: number }
  /** The answer to `ping`. `rttMs` includes the time in queues below. */
  | { readonly type: "pong"; readonly id: number; readonly rttMs: number }
  | { readonly type: "drained" }
  /** The peer ends the link. */
  | { readonly type: "goodbye"; readonly reason: GoodbyeReason }
  | { readonly type: "fault"; readonly fault: LinkFault; readonly stream: number }
  /** The channel is of no use any more: close it, find another. `silent`: no sign of life; `closed`: as we were told. */
  | { readonly type: "detached"; readonly reason: "silent" | "closed" }
  /** Frames go to the other channel from here on. */
  | { readonly type: "attached" }
  /**
   * The session is over; nothing follows. `protocol`: too many faults, or counts that cannot be; `forsaken`: no other channel
   * within {@link SESSION_GRACE_MS}; `overfull`: more was on its way than is kept.
   */
  | { readonly type: "dead"; readonly reason: "protocol" | "forsaken" | "overfull" };
