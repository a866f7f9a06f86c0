/** One end of a connection in `stacks.ts`: the same few things over our API and over each bare stack. */
export interface BenchEnd {
  /** What has come in that is no echo. */
  readonly received: { messages: number; bytes: number };
  /** Initiator: opens a connection; resolves when a message has gone there and back. */
  open(): Promise<void>;
  /** A signal of the other end. */
  signal(signal: BenchSignal): void;
  /** Sends `message` again and again, as fast as the connection takes it, while `running`. */
  pump(message: Uint8Array, running: () => boolean): Promise<void>;
  /** Hands over `count` messages at once. */
  queue(message: Uint8Array, count: number): void;
  /** Sends a message of `bytes` that comes back; how long it took, ms. */
  echo(bytes: number): Promise<number>;
  /** As an echo, by the quickest way that the end has past its own queue. */
  probe(): Promise<number>;
  /** Ends the connection; another may be opened. */
  close(): Promise<void>;
}

/** What ends tell each other while they connect. */
export type BenchSignal =
  | { readonly type: "description"; readonly kind: "offer" | "answer"; readonly sdp: string }
  | { readonly type: "candidate"; readonly candidate: string; readonly mid: string }
  | { readonly type: "letter"; readonly bytes: Uint8Array }
  | { readonly type: "peer"; readonly id: string; readonly boxKey: Uint8Array };

export interface BenchEndOptions {
  readonly initiator: boolean;
  /** The port of a {@link ShapedPath} that stands for the other end; undefined for the direct way. */
  readonly pathPort: number | undefined;
  readonly send: (signal: BenchSignal) => void;
}

/** Messages of the bare ends carry their purpose in the first byte. */
export const Purpose = { load: 0, echo: 1, echoed: 2 } as const;
