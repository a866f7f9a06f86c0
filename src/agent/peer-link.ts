import { StarlingError } from "../errors.ts";
import { Runner } from "../host/runner.ts";
import { assert } from "../proto/assert.ts";
import type { Instant } from "../proto/machine.ts";
import type { CandidatePair, RtcEvent } from "../proto/negotiation/rtc.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AdmittedPeer } from "../proto/session/admission.ts";
import type { HeldSession } from "../proto/session/resumption.ts";
import type { LinkOptions } from "../proto/streams/channel.ts";
import { LANES } from "../proto/streams/chunk.ts";
import type { GoodbyeReason, LinkInput, LinkOutput, StreamPriority } from "../proto/streams/events.ts";
import type { Lane } from "../proto/streams/lanes.ts";
import { Link } from "../proto/streams/link.ts";
import type { LinkStatus } from "../status.ts";
import { abortedBy } from "./aborted.ts";
import { LinkChannel } from "./link-channel.ts";
import { LinkStreams, type StreamListener } from "./link-streams.ts";
import type { AdmittedChannel } from "./pairing.ts";
import type { MeshStream, StreamCarrier } from "./stream.ts";

/** What a link tells its agent. */
export interface LinkListener extends StreamListener {
  message(peer: PeerId, lane: Lane, bytes: Uint8Array): void;
  fault(peer: PeerId, fault: string): void;
  /** The link has no channel; it waits for another, or for its end. */
  detached(link: PeerLink, reason: string): void;
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

/** How long a channel that another took the place of stays open, ms: the peer may not have changed over yet. */
const REPLACED_MS = 1_000;

/** How long a probe of the mesh waits for its answer at most, ms: what was asked over the channel before may come to nothing. */
const PROBES_LOST_MS = 3_000;

/** Pings of applications under way at a time: one more would tell nothing. */
const MAX_PINGS = 64;

/** A session with a peer: the {@link Link} that runs over one admitted channel after the other. */
export class PeerLink implements StreamCarrier {
  /** As the admission that began it derived it. */
  readonly session: Uint8Array;
  readonly #listener: LinkListener;
  readonly #now: () => Instant;
  readonly #link: Link;
  readonly #runner: Runner<LinkInput, LinkOutput>;
  readonly #streams: LinkStreams;
  readonly #pongs = new Map<number, (rttMs: number | StarlingError) => void>();
  readonly #drained: (() => void)[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #state: "open" | "detached" | "ending" | "over" = "open";
  #channel: LinkChannel;
  /** The one that takes over when the link has dealt with what came before. */
  #next: LinkChannel | undefined;
  #pings = 0;
  #txBytes = 0;
  #rxBytes = 0;
  /** Frames handed down and received: what the benchmarks count. */
  txFrames = 0;
  #heardAt: Instant;
  /** Why the channel was given up. */
  #reason = "";

  constructor(
    channel: AdmittedChannel,
    options: {
      readonly stack: string;
      readonly link: LinkOptions;
      readonly now: () => Instant;
      readonly listener: LinkListener;
    },
  ) {
    this.session = channel.session.id;
    this.#listener = options.listener;
    this.#now = options.now;
    this.#heardAt = options.now();
    this.#channel = new LinkChannel(channel, options.stack, this.#heardAt, false);
    this.#link = new Link(channel.role, options.link);
    this.#runner = new Runner(
      this.#link,
      options.now,
      () => ({ type: "timeout", bufferedBytes: this.#channel.bufferedAmount }),
      (output) => this.#perform(output),
    );
    this.#streams = new LinkStreams(this, (input) => this.#runner.input(input), options.listener);
  }

  /** Begins to listen to the latest channel: apart from taking it, so that the agent knows the link before it speaks. */
  start(): void {
    const channel = this.#next ?? this.#channel;
    channel.start((event) => this.#event(channel, event));
  }

  /** Goes on over a channel on which the session was resumed. */
  attach(channel: AdmittedChannel, stack: string, options: LinkOptions): void {
    const { resumed } = channel.session;
    assert(resumed !== undefined, "a channel takes over when both sides go on with the session");
    this.#next?.retire(0);
    const lanes = resumed.cut ? "cut" : "kept";
    this.#next = new LinkChannel(channel, stack, this.#now(), lanes === "kept");
    this.#runner.input({ type: "attach", role: channel.role, received: resumed.received, lanes, options });
  }

  /** Probes of the mesh go unanswered: gives the channel up, unless they were lost with the one before it. */
  unanswered(): void {
    if (!this.#channel.isSuccessor || this.#now() - this.since > PROBES_LOST_MS) this.detach("silent");
  }

  /** Gives the channel up, and waits for another. */
  detach(reason: string): void {
    if (this.#state === "ending") this.#over(reason);
    if (this.#state !== "open") return;
    this.#reason = reason;
    this.#runner.input({ type: "detach" });
  }

  get id(): PeerId {
    return this.peer.id;
  }

  get peer(): AdmittedPeer {
    return this.#channel.peer;
  }

  /** When the channel in use was admitted. */
  get since(): Instant {
    return this.#channel.since;
  }

  get stack(): string {
    return this.#channel.stack;
  }

  /** Whether it waits for another channel. */
  get isDetached(): boolean {
    return this.#state === "detached";
  }

  /** Whether neither side has ended it. */
  get goesOn(): boolean {
    return this.#state === "open" || this.isDetached;
  }

  /** The addresses in use, where the stack tells. */
  get pair(): CandidatePair | undefined {
    return this.#channel.pair;
  }

  /** This session, for an admission that may carry it on. */
  get held(): HeldSession {
    return {
      id: this.session,
      boxKey: this.peer.boxKey,
      progress: () => (this.goesOn ? { received: this.#link.framesReceived, cut: this.isDetached } : undefined),
    };
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
    return this.#link.streamCount > 0 || this.#pongs.size > 0;
  }

  /** When the last frame came in. */
  get heardAt(): Instant {
    return this.#heardAt;
  }

  /** Bytes given to it that the peer has not acknowledged. */
  get waitingBytes(): number {
    return this.#link.waitingBytes;
  }

  status(): LinkStatus {
    return {
      peer: this.id,
      ...this.#channel.status(),
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
    return this.goesOn && this.#link.writable(stream);
  }

  consumed(stream: number, messages: number, bytes: number): void {
    this.#runner.input({ type: "consumed", stream, messages, bytes });
  }

  end(stream: number): void {
    this.#runner.input({ type: "end", stream });
  }

  reset(stream: number, code: number): void {
    this.#streams.forget(stream);
    this.#runner.input({ type: "reset", stream, code });
  }

  /** Opens a stream; messages may be sent at once. Rejects when the peer has no handler for the protocol. */
  open(protocol: string, priority: StreamPriority): Promise<MeshStream> {
    return this.#streams.open(protocol, priority);
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
      if (this.#pongs.size >= MAX_PINGS)
        return reject(new StarlingError("limit-reached", `${MAX_PINGS} pings are under way; wait for their answers`));
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

  /** Says goodbye, then closes the channel; without one it is over at once. */
  close(reason: GoodbyeReason): void {
    if (this.isDetached) this.#over(reason, true);
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#runner.input({ type: "goodbye", reason });
    this.#runner.input({ type: "flush", bufferedBytes: this.#channel.bufferedAmount });
    setTimeout(() => this.#over(reason, true), GOODBYE_MS[this.#channel.role]).unref();
  }

  /** Closes the channel at once, without a word. */
  abandon(reason: string): void {
    this.#over(reason);
  }

  #event(channel: LinkChannel, event: RtcEvent): void {
    if (this.#state === "over") return;
    switch (event.type) {
      case "frame":
        this.#rxBytes += event.bytes.length;
        this.#heardAt = this.#now();
        this.#runner.input({ type: "frame", bytes: event.bytes });
        break;
      case "drained":
        this.#runner.input({ type: "flush", bufferedBytes: this.#channel.bufferedAmount });
        break;
      case "closed":
        if (channel === this.#channel) this.detach("channel closed");
        break;
    }
  }

  #perform(output: LinkOutput): void {
    switch (output.type) {
      case "frame":
        this.#txBytes += output.bytes.length;
        this.txFrames++;
        this.#channel.send(output.bytes);
        break;
      case "message":
        if (output.stream < LANES) this.#listener.message(this.id, output.stream as Lane, output.bytes);
        else this.#streams.deliver(output.stream, output.bytes);
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
        this.#channel.retire(LINGER_MS);
        break;
      case "dropped":
        this.#listener.fault(this.id, "lane-full");
        break;
      case "fault":
        this.#listener.fault(this.id, output.fault);
        break;
      case "detached":
        this.#detached(output.reason === "silent" ? "silent" : this.#reason);
        break;
      case "attached":
        this.#attached();
        break;
      case "dead":
        this.#over(output.reason);
        break;
      default:
        this.#streams.perform(output);
    }
  }

  #detached(reason: string): void {
    if (this.#state !== "open") {
      this.#over(reason);
      return;
    }
    this.#state = "detached";
    this.#channel.retire(0);
    this.#listener.detached(this, reason);
  }

  #attached(): void {
    assert(this.#next !== undefined, "a link goes on over the channel that it was given");
    this.#channel.retire(REPLACED_MS);
    this.#channel = this.#next;
    this.#next = undefined;
    if (this.isDetached) this.#state = "open";
  }

  #over(reason: string, deliberate = false): void {
    this.#finish(reason, deliberate || this.#state === "ending");
    this.#channel.retire(0);
    this.#next?.retire(0);
  }

  /** The end of the link; its channel may linger. */
  #finish(reason: string, deliberate: boolean): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#runner.close();
    const failure = new StarlingError("closed", `the link to the member ended: ${reason}`);
    this.#streams.fail(failure);
    for (const settle of this.#pongs.values()) settle(failure);
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#pongs.clear();
    this.#ended.resolve();
    this.#listener.lost(this, reason, deliberate);
  }
}
