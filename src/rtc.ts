import type { RtcConnection, RtcEvent, RtcOptions } from "./proto/negotiation/rtc.ts";

/** A WebRTC stack: makes connections. */
export interface RtcStack {
  /** `native` (node-datachannel), `werift`, `browser`, or a custom stack's own name. */
  readonly name: string;
  /** The largest frame that may be sent, bytes. */
  readonly maxFrameBytes: number;
  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection;
  /** Releases what the stack holds beyond its connections; connections must be closed first. */
  close(): Promise<void>;
}
