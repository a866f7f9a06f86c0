import { StarlingError } from "../errors.ts";
import type { Instant } from "../proto/machine.ts";
import type { CandidatePair, RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AdmittedPeer } from "../proto/session/admission.ts";
import type { Role } from "../proto/session/transcript.ts";
import { LANES } from "../proto/streams/chunk.ts";
import type { GoodbyeReason, LinkInput, LinkOutput, StreamPriority } from "../proto/streams/events.ts";
import type { Lane } from "../proto/streams/lanes.ts";
import { Link, type LinkOptions } from "../proto/streams/link.ts";
import type { LinkStatus } from "../status.ts";
import { abortedBy } from "./aborted.ts";
import type { AdmittedChannel } from "./pairing.ts";
import { Runner } from "./runner.ts";
import { MeshStream, type StreamCarrier } from "./stream.ts";

/** Takes a stream that the peer has opened. */
export type LinkStreamHandler = (stream: MeshStream, from: PeerId) => void | Promise<void>;

/** What a link tells its agent. */
export interface LinkListener {
  message(peer: PeerId, lane: Lane, bytes: Uint8Array): void;
  /** The peer opened a stream; undefined refuses it as an unknown protocol. */
  handler(protocol: string): LinkStreamHandler | undefined;
  /** The application's handler threw; its stream is reset. */
  handlerFailed(peer: PeerId, protocol: string, error: unknown): void;
  fault(peer: PeerId, fault: string): void;
  /** The link is over; nothing follows. `deliberate`: one side ended it in good order, which says nothing about the peer. */
  lost(link: PeerLink, reason: string, deliberate: boolean): void;
}

/**
 * How long after a goodbye each side closes the channel, ms. The sides differ so that two that leave at once do not close one
 * channel at the same moment, from which the native stack does not always recover.
 */
const GOODBYE_MS = { dialer: 100, answerer: 400 } as const;

/** How long a channel whose peer said goodbye is left for the peer to close, ms. */
const LINGER_MS = 1_000;

/** An admitted channel and the {@link Link} that runs over it. */
export class PeerLink implements StreamCarrier {
  readonly peer: AdmittedPeer;
  readonly stack: string;
  readonly since: Instant;
  readonly #role: Role;
  readonly #connection: RtcConnection;
  readonly #listener: LinkListener;
  readonly #now: () => Instant;
  readonly #link: Link;
  readonly #runner: Runner<LinkInput, LinkOutput>;
  readonly #streams = new Map<number, MeshStream>();
  readonly #opening: PromiseWithResolvers<MeshStream>[] = [];
  readonly #pongs = new Map<number, (rttMs: number | StarlingError) => void>();
  readonly #drained: (() => void)[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #state: "open" | "ending" | "over" = "open";
  #pings = 0;
  #txBytes = 0;
  #rxBytes = 0;
  /** Frames handed down and received: what the benchmarks count. */
  txFrames = 0;
  #heardAt: Instant;

  constructor(
    channel: AdmittedChannel,
    options: {
      readonly stack: string;
      readonly link?: LinkOptions;
      readonly now: () => Instant;
      readonly listener: LinkListener;
    },
  ) {
    this.peer = channel.peer;
    this.#role = channel.role;
    this.stack = options.stack;
    this.#connection = channel.connection;
    this.#listener = options.listener;
    this.#now = options.now;
    this.since = options.now();
    this.#heardAt = this.since;
    this.#link = new Link(channel.role, options.link);
    this.#runner = new Runner(
      this.#link,
      options.now,
      () => ({ type: "timeout", bufferedBytes: this.#connection.bufferedAmount }),
      (output) => this.#perform(output),
    );
  }

  /** Begins to listen to the channel: apart from the constructor, so that the agent knows the link before it speaks. */
  start(channel: AdmittedChannel): void {
    channel.take((event) => this.#event(event));
  }

  get id(): PeerId {
    return this.peer.id;
  }

  /** Resolves when the link is over. */
  get over(): Promise<void> {
    return this.#ended.promise;
  }

  get rttMs(): number | undefined {
    return this.#link.rttMs;
  }

  /** Whether a stream is open, or a ping under way. */
  get busy(): boolean {
    return this.#streams.size > 0 || this.#opening.length > 0 || this.#pongs.size > 0;
  }

  /** When the last frame came in. */
  get heardAt(): Instant {
    return this.#heardAt;
  }

  status(): LinkStatus {
    const pair = this.#connection.selectedPair();
    return {
      peer: this.id,
      path: pathOf(this.stack, pair),
      rtc: this.stack,
      localCandidate: pair ? `${pair.local.kind} ${pair.local.address}` : null,
      remoteCandidate: pair ? `${pair.remote.kind} ${pair.remote.address}` : null,
      rttMs: this.#link.rttMs ?? null,
      txBytes: this.#txBytes,
      rxBytes: this.#rxBytes,
      sinceMs: this.#now() - this.since,
    };
  }

  /** Queues a message; on a lane it may be dropped when its queue is full. */
  send(stream: number, bytes: Uint8Array): void {
    this.#runner.input({ type: "send", stream, bytes });
  }

  writable(stream: number): boolean {
    return this.#state === "open" && this.#link.writable(stream);
  }

  consumed(stream: number, messages: number, bytes: number): void {
    this.#runner.input({ type: "consumed", stream, messages, bytes });
  }

  end(stream: number): void {
    this.#runner.input({ type: "end", stream });
  }

  reset(stream: number, code: number): void {
    this.#streams.delete(stream);
    this.#runner.input({ type: "reset", stream, code });
  }

  /** Opens a stream; messages may be sent at once. Rejects when the peer has no handler for the protocol. */
  open(protocol: string, priority: StreamPriority): Promise<MeshStream> {
    const opening = Promise.withResolvers<MeshStream>();
    this.#opening.push(opening);
    // The answer, `opening` or `unopened`, is an output of this very input.
    this.#runner.input({ type: "open", protocol, priority });
    return opening.promise;
  }

  /** The round trip of one ping, ms, queues on the way included. */
  ping(signal?: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const id = ++this.#pings;
      const giveUp = (): void => {
        this.#pongs.delete(id);
        if (signal) reject(abortedBy(signal, "no answer to the ping in time"));
      };
      if (this.#state === "over") return reject(new StarlingError("closed", "the link to the member has ended"));
      if (signal?.aborted) return giveUp();
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#pongs.set(id, (answer) => {
        signal?.removeEventListener("abort", giveUp);
        if (typeof answer === "number") resolve(answer);
        else reject(answer);
      });
      this.#runner.input({ type: "ping", id });
    });
  }

  /** Resolves when everything queued is sent and acknowledged, or the link is over. */
  drain(): Promise<void> {
    if (this.#state === "over") return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#runner.input({ type: "drain" });
    });
  }

  /** Says goodbye, then closes the channel. */
  close(reason: GoodbyeReason): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#runner.input({ type: "goodbye", reason });
    this.#runner.input({ type: "flush", bufferedBytes: this.#connection.bufferedAmount });
    setTimeout(() => this.#over(reason, true), GOODBYE_MS[this.#role]).unref();
  }

  /** Closes the channel at once, without a word. */
  abandon(reason: string): void {
    this.#over(reason);
  }

  #event(event: RtcEvent): void {
    if (this.#state === "over") return;
    switch (event.type) {
      case "frame":
        this.#rxBytes += event.bytes.length;
        this.#heardAt = this.#now();
        this.#runner.input({ type: "frame", bytes: event.bytes });
        break;
      case "drained":
        this.#runner.input({ type: "flush", bufferedBytes: this.#connection.bufferedAmount });
        break;
      case "closed":
        this.#over("channel closed");
        break;
    }
  }

  #perform(output: LinkOutput): void {
    switch (output.type) {
      case "frame":
        this.#txBytes += output.bytes.length;
        this.txFrames++;
        this.#connection.send(output.bytes);
        break;
      case "message":
        if (output.stream < LANES) this.#listener.message(this.id, output.stream as Lane, output.bytes);
        else this.#streams.get(output.stream)?.deliver(output.bytes);
        break;
      case "pong":
        this.#pongs.get(output.id)?.(output.rttMs);
        this.#pongs.delete(output.id);
        break;
      case "drained":
        for (const resolve of this.#drained.splice(0)) resolve();
        break;
      case "goodbye":
        // Who said it closes the channel.
        this.#finish(`peer: ${output.reason}`, true);
        setTimeout(() => this.#connection.close(), LINGER_MS).unref();
        break;
      case "dropped":
        this.#listener.fault(this.id, "lane-full");
        break;
      case "fault":
        this.#listener.fault(this.id, output.fault);
        break;
      case "dead":
        this.#over(output.reason);
        break;
      default:
        this.#performStream(output);
    }
  }

  #performStream(output: StreamOutput): void {
    switch (output.type) {
      case "opening":
        this.#opening.shift()?.resolve(this.#addStream(output.protocol, output.stream));
        break;
      case "unopened":
        this.#opening.shift()?.reject(new StarlingError("limit-reached", `no stream can be opened: ${output.reason}`));
        break;
      case "opened":
        this.#opened(output.stream, output.protocol);
        break;
      case "accepted":
        break;
      case "writable":
        this.#streams.get(output.stream)?.drained();
        break;
      case "ended":
        this.#streams.get(output.stream)?.ended();
        break;
      case "closed":
        this.#streams.get(output.stream)?.finish();
        this.#streams.delete(output.stream);
        break;
      case "refused":
        this.#failStream(output.stream, `the member refused the stream: ${output.reason}`);
        break;
      case "reset":
        this.#failStream(output.stream, `the member reset the stream with code ${output.code}`);
        break;
    }
  }

  #opened(id: number, protocol: string): void {
    const handler = this.#listener.handler(protocol);
    if (!handler) {
      this.#runner.input({ type: "refuse", stream: id, reason: "unknown-protocol" });
      return;
    }
    const stream = this.#addStream(protocol, id);
    this.#runner.input({ type: "accept", stream: id });
    void this.#serve(stream, handler);
  }

  /** An application's mistake, or the loss of the link inside its handler, ends the stream, not the process. */
  async #serve(stream: MeshStream, handler: LinkStreamHandler): Promise<void> {
    try {
      await handler(stream, this.id);
    } catch (error) {
      if (stream.failed) return;
      stream.reset();
      this.#listener.handlerFailed(this.id, stream.protocol, error);
    }
  }

  #addStream(protocol: string, id: number): MeshStream {
    const stream = new MeshStream(this.id, protocol, id, this);
    this.#streams.set(id, stream);
    return stream;
  }

  #failStream(id: number, message: string): void {
    this.#streams.get(id)?.fail(new StarlingError("peer-refused", message));
    this.#streams.delete(id);
  }

  #over(reason: string, deliberate = false): void {
    this.#finish(reason, deliberate || this.#state === "ending");
    this.#connection.close();
  }

  /** The end of the link; its channel may linger. */
  #finish(reason: string, deliberate: boolean): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#runner.close();
    const failure = new StarlingError("closed", `the link to the member ended: ${reason}`);
    for (const stream of this.#streams.values()) stream.fail(failure);
    for (const opening of this.#opening.splice(0)) opening.reject(failure);
    for (const settle of this.#pongs.values()) settle(failure);
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#pongs.clear();
    this.#streams.clear();
    this.#ended.resolve();
    this.#listener.lost(this, reason, deliberate);
  }
}

/** What a link that leads through other members calls its stack. */
export const ROUTED = "routed";

function pathOf(stack: string, pair: CandidatePair | undefined): LinkStatus["path"] {
  if (stack === ROUTED) return "routed";
  return pair?.local.kind === "relay" || pair?.remote.kind === "relay" ? "turn" : "direct";
}

type StreamOutput = Extract<
  LinkOutput,
  { type: "opening" | "unopened" | "opened" | "accepted" | "writable" | "ended" | "closed" | "refused" | "reset" }
>;
