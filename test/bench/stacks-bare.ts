import type * as datachannel from "node-datachannel";
import { type RTCDataChannel, RTCPeerConnection } from "werift";
import { type BenchEnd, type BenchEndOptions, type BenchSignal, Purpose } from "./stacks-end.ts";

/**
 * The bare stacks, used as their documents show: one reliable ordered channel, `send` while `bufferedAmount` is below a mark,
 * on again when it is low. The marks are those at which each stack was fastest.
 */
interface BareChannel {
  /** False when it would take no more for the moment. */
  send(message: Uint8Array): boolean;
  close(): void;
}

/** What both stacks have in common. */
abstract class BareEnd implements BenchEnd {
  readonly received = { messages: 0, bytes: 0 };
  protected readonly options: BenchEndOptions;
  protected channel: BareChannel | undefined;
  #low: (() => void) | undefined;
  #opened: (() => void) | undefined;
  readonly #echoes = new Map<number, (at: number) => void>();
  #echoCount = 0;

  constructor(options: BenchEndOptions) {
    this.options = options;
  }

  async open(): Promise<void> {
    const opened = new Promise<void>((resolve) => {
      this.#opened = resolve;
    });
    this.connect();
    await opened;
    await this.echo(100);
  }

  abstract signal(signal: BenchSignal): void;
  protected abstract connect(): void;

  async pump(message: Uint8Array, running: () => boolean): Promise<void> {
    message[0] = Purpose.load;
    while (running()) {
      const isFull = this.#fill(message);
      if (isFull) await this.#whenLow();
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  queue(message: Uint8Array, count: number): void {
    message[0] = Purpose.load;
    for (let index = 0; index < count; index++) this.channel?.send(message);
  }

  echo(bytes: number): Promise<number> {
    const message = new Uint8Array(bytes);
    const number = ++this.#echoCount;
    message[0] = Purpose.echo;
    new DataView(message.buffer).setUint32(1, number);
    const sentAt = performance.now();
    this.channel?.send(message);
    return new Promise((resolve) => this.#echoes.set(number, (at) => resolve(at - sentAt)));
  }

  probe(): Promise<number> {
    return this.echo(32);
  }

  async close(): Promise<void> {
    this.channel?.close();
    this.channel = undefined;
    this.lowered();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  protected adopted(channel: BareChannel): void {
    this.channel = channel;
    this.#opened?.();
  }

  protected message(data: Uint8Array): void {
    if (data[0] === Purpose.load) {
      this.received.messages++;
      this.received.bytes += data.length;
    } else if (data[0] === Purpose.echo) {
      const answer = Uint8Array.from(data);
      answer[0] = Purpose.echoed;
      this.channel?.send(answer);
    } else {
      const number = new DataView(data.buffer, data.byteOffset).getUint32(1);
      this.#echoes.get(number)?.(performance.now());
      this.#echoes.delete(number);
    }
  }

  protected lowered(): void {
    this.#low?.();
    this.#low = undefined;
  }

  #whenLow(): Promise<void> {
    return new Promise((resolve) => {
      this.#low = resolve;
      // The event may have come before anybody listened.
      setTimeout(resolve, 100).unref();
    });
  }

  /** Whether the channel is full; a turn of the event loop in between keeps the process answering. */
  #fill(message: Uint8Array): boolean {
    for (let index = 0; index < 1_024; index++) if (this.channel?.send(message) !== true) return true;
    return false;
  }
}

/** Overflow of libdatachannel's own 1 MiB, and where to go on. */
const NATIVE_HIGH_BYTES = 1_048_576;
const NATIVE_LOW_BYTES = 262_144;

class NativeEnd extends BareEnd {
  readonly #library: typeof datachannel;
  #peer: datachannel.PeerConnection | undefined;

  constructor(options: BenchEndOptions, library: typeof datachannel) {
    super(options);
    this.#library = library;
  }

  protected connect(): void {
    const peer = this.#create();
    const channel = peer.createDataChannel("bare");
    this.#adopt(channel);
    peer.setLocalDescription("offer");
  }

  signal(signal: BenchSignal): void {
    if (signal.type === "description") {
      const peer = signal.kind === "offer" ? this.#create() : this.#peer;
      peer?.setRemoteDescription(signal.sdp, signal.kind);
      if (signal.kind === "offer") peer?.setLocalDescription("answer");
    } else if (signal.type === "candidate") this.#peer?.addRemoteCandidate(signal.candidate, signal.mid);
  }

  #create(): datachannel.PeerConnection {
    const peer = new this.#library.PeerConnection("bare", {
      iceServers: [],
      bindAddress: "127.0.0.1",
      disableAutoNegotiation: true,
    });
    const { send } = this.options;
    peer.onLocalDescription((sdp, kind) => {
      if (kind !== "offer" && kind !== "answer") return;
      send({ type: "description", kind, sdp: sdp.replaceAll(/^a=candidate:.*\r?\n/gm, "") });
    });
    peer.onLocalCandidate((candidate, mid) => send({ type: "candidate", candidate, mid }));
    peer.onDataChannel((channel) => this.#adopt(channel));
    this.#peer = peer;
    return peer;
  }

  #adopt(channel: datachannel.DataChannel): void {
    channel.setBufferedAmountLowThreshold(NATIVE_LOW_BYTES);
    channel.onBufferedAmountLow(() => this.lowered());
    channel.onMessage((message) => {
      if (typeof message !== "string") this.message(message instanceof Uint8Array ? message : new Uint8Array(message));
    });
    const open = () =>
      this.adopted({
        // False means that it had to queue; how much is asked for only then.
        send: (message) => channel.sendMessageBinary(message) || channel.bufferedAmount() < NATIVE_HIGH_BYTES,
        close: () => this.#peer?.close(),
      });
    if (channel.isOpen()) open();
    else channel.onOpen(open);
  }
}

/** Where werift is fastest: about 1 MiB of large messages, 16 KiB of small ones (its cost grows with their number). */
const WERIFT_HIGH = { messages: 64, bytes: 1_048_576 };

class WeriftEnd extends BareEnd {
  #peer: RTCPeerConnection | undefined;

  protected connect(): void {
    void this.#offer();
  }

  signal(signal: BenchSignal): void {
    void this.#take(signal);
  }

  async #offer(): Promise<void> {
    const peer = this.#create();
    this.#adopt(peer.createDataChannel("bare"));
    await this.#describe(peer, "offer", (await peer.createOffer()).sdp);
  }

  async #take(signal: BenchSignal): Promise<void> {
    if (signal.type === "description") {
      const peer = signal.kind === "offer" ? this.#create() : this.#peer;
      await peer?.setRemoteDescription({ type: signal.kind, sdp: signal.sdp });
      if (signal.kind === "offer" && peer) await this.#describe(peer, "answer", (await peer.createAnswer()).sdp);
    } else if (signal.type === "candidate")
      await this.#peer?.addIceCandidate({ candidate: signal.candidate, sdpMLineIndex: 0 });
  }

  async #describe(peer: RTCPeerConnection, kind: "offer" | "answer", sdp: string): Promise<void> {
    // The placeholder of the configuration would cost a time-out of some seconds.
    for (const { connection } of peer.iceTransports) delete connection.stunServer;
    const gathering = peer.setLocalDescription({ type: kind, sdp });
    this.options.send({ type: "description", kind, sdp });
    await gathering;
  }

  #create(): RTCPeerConnection {
    const peer = new RTCPeerConnection({
      iceServers: [{ urls: "stun:127.0.0.1:9" }],
      iceAdditionalHostAddresses: ["127.0.0.1"],
    });
    peer.onIceCandidate.subscribe((found) => {
      if (found === undefined) return;
      this.options.send({ type: "candidate", candidate: found.candidate, mid: found.sdpMid ?? "0" });
    });
    peer.onDataChannel.subscribe((channel) => this.#adopt(channel));
    this.#peer = peer;
    return peer;
  }

  #adopt(channel: RTCDataChannel): void {
    let handed = 0;
    const { messages, bytes } = WERIFT_HIGH;
    channel.bufferedAmountLowThreshold = 0;
    channel.bufferedAmountLow.subscribe(() => {
      handed = 0;
      this.lowered();
    });
    channel.onMessage.subscribe((message) => {
      if (typeof message !== "string") this.message(message);
    });
    const open = () =>
      this.adopted({
        send: (message) => {
          channel.send(Buffer.from(message.buffer, message.byteOffset, message.byteLength));
          return ++handed < messages && channel.bufferedAmount < bytes;
        },
        close: () => void this.#peer?.close(),
      });
    if (channel.readyState === "open") open();
    else channel.stateChanged.subscribe((state) => state === "open" && open());
  }
}

/** An end over the bare stack of that name. */
export async function bareEnd(stack: "native" | "werift", options: BenchEndOptions): Promise<BenchEnd> {
  return stack === "native" ? new NativeEnd(options, await import("node-datachannel")) : new WeriftEnd(options);
}
