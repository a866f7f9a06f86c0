import { Socket } from "node:dgram";
import { type RTCDataChannel, type RTCDtlsTransport, RTCPeerConnection } from "werift";
import { assert } from "../proto/assert.ts";
import type { CandidatePair, RtcConnection, RtcEvent, RtcOptions } from "../proto/negotiation/rtc.ts";
import type { RtcStack } from "../rtc.ts";
import { chooseServers, type ServerChoice } from "./rtc-ice-servers.ts";
import { RtcLedger } from "./rtc-ledger.ts";
import { RtcOutlet, reasonOf } from "./rtc-outlet.ts";
import { CandidateInbox, remoteDescription, summarise, summaryOf } from "./rtc-remote.ts";
import { assignStream, configOf, type Keys, makeKeys, pairAgain } from "./rtc-werift-config.ts";
import { DtlsGuard } from "./rtc-werift-dtls.ts";
import { guardSctp } from "./rtc-werift-sctp.ts";
import { WeriftSender } from "./rtc-werift-sender.ts";

/**
 * WebRTC in TypeScript: werift. It installs everywhere and speaks TURN over UDP, TCP and TLS; it is about seven times
 * slower than the native stack in bulk. Its hazards are kept inside this file and its two guards (`rtc-werift-dtls.ts`:
 * who is at the other end, `rtc-werift-sctp.ts`: what comes from there). None of werift's types leaves this file.
 */

/** The largest frame: what werift announces as `max-message-size` by default, and the default of RFC 8841. */
const MAX_FRAME_BYTES = 65_536;

/** ASCII: werift counts a label's characters where its bytes belong. */
const LABEL = "starling";

/** Frames kept until the channel is known to be open: a handshake is one, the first flight of a sender a few. */
const MAX_EARLY_FRAMES = 64;

/**
 * Bursts of the peer wait in the kernel while JavaScript is busy. With the usual 208 KiB 1,000 to 2,800 packets were dropped in
 * 4 s of bulk, with this none; an unlucky loss stalls SCTP for a second. Capped by the system (`net.core.rmem_max`).
 */
const UDP_RECEIVE_BUFFER_BYTES = 4 * 1_048_576;

/** Options of {@link weriftStack}. */
export interface WeriftOptions {
  /**
   * How long to wait for a STUN server, ms. Default 2,000 (werift's is 5,000). An answerer begins to connect only when its
   * gathering is over, so where UDP is blocked every dial with a STUN entry costs this much on the answering side.
   */
  readonly stunTimeoutMs?: number;
}

/** A stack over werift. It has one DTLS certificate, made with the first connection and forgotten with the stack. */
export function weriftStack(options: WeriftOptions = {}): RtcStack {
  return new WeriftStack(options);
}

class WeriftStack implements RtcStack {
  readonly name = "werift";
  readonly maxFrameBytes = MAX_FRAME_BYTES;
  readonly #stunTimeoutMs: number;
  readonly #ledger = new RtcLedger();
  #keys: Promise<Keys> | undefined;

  constructor(options: WeriftOptions) {
    this.#stunTimeoutMs = options.stunTimeoutMs ?? 2_000;
  }

  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection {
    return new WeriftConnection(options, notify, (servers) => this.#create(options, servers), this.#ledger.enter());
  }

  close(): Promise<void> {
    return this.#ledger.settled();
  }

  async #create(options: RtcOptions, servers: ServerChoice): Promise<RTCPeerConnection> {
    this.#keys ??= makeKeys();
    const keys = await this.#keys;
    const settings = { keys, stunTimeoutMs: this.#stunTimeoutMs, maxFrameBytes: MAX_FRAME_BYTES };
    return new RTCPeerConnection(configOf(options, servers, settings));
  }
}

/** What a connection holds in each phase of its life. */
type Phase =
  | { readonly at: "new" }
  | { readonly at: "starting" }
  | { readonly at: "connecting"; readonly peer: RTCPeerConnection; link?: Link }
  | { readonly at: "open"; readonly peer: RTCPeerConnection; readonly link: Link; readonly sender: WeriftSender }
  | { readonly at: "closed" };

/** The transports below the channel, once they exist. */
interface Link {
  readonly dtls: RTCDtlsTransport;
  guard?: DtlsGuard;
  /** Settles when gathering is over, seconds later where a STUN server is silent; never, if closed before it began. */
  gathering?: Promise<unknown>;
}

class WeriftConnection implements RtcConnection {
  readonly #options: RtcOptions;
  readonly #outlet: RtcOutlet;
  readonly #create: (servers: ServerChoice) => Promise<RTCPeerConnection>;
  readonly #dispose: (disposal: Promise<void>) => void;
  readonly #candidates: CandidateInbox;
  #phase: Phase = { at: "new" };
  #lowWaterMark = 0;
  readonly #early: Uint8Array[] = [];
  #hasStun = false;

  constructor(
    options: RtcOptions,
    notify: (event: RtcEvent) => void,
    create: (servers: ServerChoice) => Promise<RTCPeerConnection>,
    dispose: (disposal: Promise<void>) => void,
  ) {
    this.#options = options;
    this.#outlet = new RtcOutlet(notify);
    this.#create = create;
    this.#dispose = dispose;
    this.#candidates = new CandidateInbox(options, (candidate) => this.#addCandidate(candidate));
  }

  offer(): void {
    assert(this.#options.initiator, "the answerer does not offer");
    this.#start(async (peer) => {
      const channel = peer.createDataChannel(LABEL);
      this.#adopt(channel);
      const offer = await peer.createOffer();
      this.#describe(peer, "offer", offer.sdp, channel);
    });
  }

  answer(offer: string): void {
    assert(!this.#options.initiator, "the initiator does not answer");
    const description = remoteDescription(offer, "offer", this.#options);
    if (!description.ok) {
      this.#end(description.fault);
      return;
    }
    this.#start(async (peer) => {
      peer.onDataChannel.subscribe((channel) => this.#adopt(channel));
      await peer.setRemoteDescription({ type: "offer", sdp: description.sdp });
      this.#candidates.open();
      const answer = await peer.createAnswer();
      this.#describe(peer, "answer", answer.sdp);
    });
  }

  accept(answer: string): void {
    const phase = this.#phase;
    if (phase.at === "closed") return;
    assert(phase.at === "connecting" && this.#options.initiator, "an answer follows an offer");
    const description = remoteDescription(answer, "answer", this.#options);
    if (!description.ok) {
      this.#end(description.fault);
      return;
    }
    this.#run(async () => {
      await phase.peer.setRemoteDescription({ type: "answer", sdp: description.sdp });
      this.#candidates.open();
    });
  }

  candidate(candidate: string, mid: string): void {
    this.#candidates.take(candidate, mid);
  }

  send(frame: Uint8Array): boolean {
    assert(frame.length > 0 && frame.length <= MAX_FRAME_BYTES, "a frame has 1 to 65,536 bytes");
    const phase = this.#phase;
    if (phase.at !== "open") return false;
    try {
      // A view: werift would copy anything but a Buffer.
      phase.sender.send(Buffer.isBuffer(frame) ? frame : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
      return true;
    } catch (error) {
      this.#end(reasonOf(error));
      return false;
    }
  }

  get bufferedAmount(): number {
    return this.#phase.at === "open" ? this.#phase.sender.bufferedAmount : 0;
  }

  get lowWaterMark(): number {
    return this.#lowWaterMark;
  }

  set lowWaterMark(bytes: number) {
    this.#lowWaterMark = bytes;
    if (this.#phase.at === "open") this.#phase.sender.lowWaterMark = bytes;
  }

  remoteFingerprint(): Uint8Array | undefined {
    const phase = this.#phase;
    return phase.at === "connecting" || phase.at === "open" ? phase.link?.guard?.fingerprint() : undefined;
  }

  selectedPair(): CandidatePair | undefined {
    const phase = this.#phase;
    if (phase.at !== "connecting" && phase.at !== "open") return undefined;
    const pair = phase.link?.dtls.iceTransport.connection.nominated;
    if (pair === undefined) return undefined;
    const { localCandidate: local, remoteCandidate: remote } = pair;
    return {
      local: summaryOf(local.type, local.host, local.port),
      remote: this.#candidates.named(summaryOf(remote.type, remote.host, remote.port)),
    };
  }

  close(): void {
    this.#end("closed here");
  }

  /** Makes the peer connection and takes the first steps; the certificate takes some milliseconds the first time. */
  #start(step: (peer: RTCPeerConnection) => Promise<void>): void {
    if (this.#phase.at === "closed") return;
    assert(this.#phase.at === "new", "a connection is negotiated once");
    const servers = chooseServers(this.#options, ["udp", "tcp", "tls"]);
    if (typeof servers === "string") {
      this.#end(servers);
      return;
    }
    this.#hasStun = servers.stun !== undefined;
    this.#phase = { at: "starting" };
    this.#run(async () => {
      const peer = await this.#create(servers);
      // Closed in the meantime: a peer connection without transports holds nothing.
      if (this.#outlet.ended) return;
      this.#phase = { at: "connecting", peer };
      peer.connectionStateChange.subscribe((state) => {
        if (state === "failed" || state === "closed") this.#end(`werift: connection ${state}`);
      });
      peer.onIceCandidate.subscribe((candidate) => {
        if (candidate === undefined) return;
        if (summarise(candidate.candidate)?.kind === "relay") pairAgain(peer);
        this.#outlet.emit({ type: "candidate", candidate: candidate.candidate, mid: candidate.sdpMid ?? "0" });
      });
      await step(peer);
    });
  }

  /** Every promise of werift ends here: a rejection is the end of the connection, not of the process. */
  #run(step: () => Promise<void>): void {
    step().catch((error) => this.#end(reasonOf(error)));
  }

  /** Hands out our description and begins to gather. */
  #describe(peer: RTCPeerConnection, kind: "offer" | "answer", sdp: string, channel?: RTCDataChannel): void {
    const phase = this.#phase;
    if (phase.at !== "connecting") return;
    const link = this.#watch(peer, channel);
    phase.link = link;
    const gathering = peer.setLocalDescription({ type: kind, sdp });
    link.gathering = gathering;
    this.#run(async () => void (await gathering));
    this.#outlet.emit({ type: "description", kind, sdp });
  }

  /** Hooks the transports, which exist by now, before any packet. */
  #watch(peer: RTCPeerConnection, channel: RTCDataChannel | undefined): Link {
    const sctp = peer.sctpTransport;
    assert(sctp !== undefined, "werift makes the transport with the description");
    const link: Link = { dtls: sctp.dtlsTransport };
    const { iceTransport } = link.dtls;
    // Without a STUN entry werift falls back to a public server, once here and once more below its own configuration.
    if (!this.#hasStun) delete iceTransport.connection.stunServer;
    guardSctp(
      sctp,
      { initiator: this.#options.initiator, maxFrameBytes: MAX_FRAME_BYTES },
      { frame: (bytes) => this.#frame(bytes), fault: (reason) => this.#end(reason) },
    );
    iceTransport.onStateChange.subscribe((state) => {
      if (state === "connected") this.#iceConnected(link);
    });
    link.dtls.onStateChange.subscribe((state) => {
      // werift makes the socket right after this event, and reads from it in a later turn.
      if (state === "connecting") {
        queueMicrotask(() => this.#guard(link));
        if (channel !== undefined) assignStream(channel, link.dtls.role);
      } else if (state === "failed" || state === "closed") this.#end(`werift: DTLS ${state}`);
    });
    return link;
  }

  #guard(link: Link): void {
    const { dtls, role } = link.dtls;
    if (dtls === undefined || role === "auto") {
      this.#end("werift: DTLS without a socket");
      return;
    }
    link.guard = new DtlsGuard(dtls, role, {
      established: () => this.#outlet.emit({ type: "dtls-connected" }),
      fault: (reason) => this.#end(reason),
    });
    // werift begins DTLS also when the connection was closed in the turn in which ICE connected.
    if (this.#outlet.ended) link.guard.stop();
  }

  #iceConnected(link: Link): void {
    const pair = link.dtls.iceTransport.connection.nominated;
    if (this.#options.iceTransportPolicy === "relay" && pair?.localCandidate.type !== "relay") {
      this.#end("relay only, but a direct path was taken");
      return;
    }
    const transport = pair !== undefined && "transport" in pair.protocol ? pair.protocol.transport : undefined;
    const socket = typeof transport === "object" && transport !== null && "socket" in transport && transport.socket;
    if (socket instanceof Socket) socket.setRecvBufferSize(UDP_RECEIVE_BUFFER_BYTES);
    this.#outlet.emit({ type: "ice-connected" });
  }

  #adopt(channel: RTCDataChannel): void {
    if (!channel.ordered || channel.maxRetransmits !== null || channel.maxPacketLifeTime !== null) {
      this.#end("the data channel is not reliable and ordered");
      return;
    }
    channel.stateChanged.subscribe((state) => {
      if (state === "open") this.#opened(channel);
      else if (state === "closing" || state === "closed") this.#end("the peer closed the channel");
    });
  }

  #opened(channel: RTCDataChannel): void {
    const phase = this.#phase;
    if (phase.at !== "connecting" || phase.link === undefined) return;
    if (phase.link.guard?.established !== true) {
      this.#end("a channel before DTLS was verified");
      return;
    }
    const drained = () => this.#outlet.emit({ type: "drained" });
    const sender = new WeriftSender(channel, this.#lowWaterMark, drained);
    this.#phase = { at: "open", peer: phase.peer, link: phase.link, sender };
    this.#outlet.emit({ type: "open" });
    for (const bytes of this.#early.splice(0)) this.#frame(bytes);
  }

  /** The answerer may speak as soon as it has acknowledged the channel, and werift tells of that a turn later. */
  #frame(bytes: Uint8Array): void {
    if (this.#phase.at === "open") this.#outlet.emit({ type: "frame", bytes });
    else if (this.#phase.at === "connecting" && this.#early.length < MAX_EARLY_FRAMES) this.#early.push(bytes);
    else if (this.#phase.at !== "closed") this.#end("too many frames before the channel was open");
  }

  /** There is one media section, whatever name the peer has for it. A candidate that werift refuses is one less. */
  #addCandidate(candidate: string): void {
    const phase = this.#phase;
    if (phase.at !== "connecting" && phase.at !== "open") return;
    phase.peer.addIceCandidate({ candidate, sdpMLineIndex: 0 }).catch(() => {});
  }

  #end(reason: string): void {
    if (!this.#outlet.end(reason)) return;
    const phase = this.#phase;
    this.#phase = { at: "closed" };
    const holds = phase.at === "connecting" || phase.at === "open";
    this.#dispose(holds ? tearDown(phase) : Promise.resolve());
  }
}

/**
 * Releases sockets and timers; what is left of werift's timers ends within a second. While a STUN or TURN server is silent,
 * werift keeps its request, and the process, for as long as it would have waited (`stunTimeoutMs`; TURN: 6 s and more).
 */
async function tearDown({ peer, link }: Extract<Phase, { at: "connecting" | "open" }>): Promise<void> {
  link?.guard?.stop();
  const ice = link?.dtls.iceTransport;
  // A check that succeeded just before the close would open the closed connection again, and ask for consent for seconds.
  ice?.connection.stateChanged.subscribe((state) => {
    if (state !== "closed") ice.connection.close().catch(() => {});
  });
  await peer.close().catch(() => {});
  if (ice?.gatheringState !== "gathering") return;
  // A socket being bound or a relay being allocated at this moment is added to the closed connection.
  link?.gathering?.then(
    () => ice.connection.close().catch(() => {}),
    () => {},
  );
}
