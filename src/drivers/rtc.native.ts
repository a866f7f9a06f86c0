import type * as datachannel from "node-datachannel";
import { StarlingError } from "../errors.ts";
import { assert } from "../proto/assert.ts";
import type { CandidatePair, RtcConnection, RtcEvent, RtcOptions } from "../proto/negotiation/rtc.ts";
import type { RtcStack } from "../rtc.ts";
import { chooseServers, type ServerChoice } from "./rtc-ice-servers.ts";
import { RtcLedger } from "./rtc-ledger.ts";
import { CandidateOutbox, isLoopbackOnly, offerPassiveRole } from "./rtc-native-candidates.ts";
import { RtcOutlet, reasonOf } from "./rtc-outlet.ts";
import { CandidateInbox, type CandidateRules, remoteDescription, summaryOf, takePassiveRole } from "./rtc-remote.ts";

/**
 * WebRTC in C++: node-datachannel (libdatachannel, libjuice, usrsctp) through its own interface, not its W3C polyfill, which
 * costs more per message. Seven times the throughput of werift; TURN over UDP only.
 *
 * Its callbacks come from other threads by way of one queue each. Hence:
 * - callbacks of different kinds are not in order: a message may come before the `open` that it follows;
 * - an exception thrown in one ends the process: all are wrapped, also those that only call back into the library;
 * - each callback keeps the process alive until the library has said `closed`, on the connection and on the channel: both
 *   are always listened for, and nothing is forgotten before. The library's global `cleanup` would end other users'
 *   connections too; it is not needed, since the process exits by itself once all are closed;
 * - messages that arrive while the answerer registers for them may be swapped, in about one of 300 connections that begin with
 *   a burst. See {@link RtcConnection.send} for the rule that keeps clear of it.
 */

type Datachannel = typeof datachannel;

/** The largest frame; announced to the peer, and what RFC 8841 assumes of a peer that announces nothing. */
const MAX_FRAME_BYTES = 65_536;

const LABEL = "starling";

/** What the library gives as the stream of a channel that has none yet; a real one is 0 or 1. */
const NO_STREAM = 65_535;

/**
 * A stack over node-datachannel. Each connection has a certificate of its own.
 *
 * @throws StarlingError `rtc-unavailable` when the optional dependency or its binary is missing.
 */
export async function nativeStack(): Promise<RtcStack> {
  try {
    return new NativeStack(await import("node-datachannel"));
  } catch (cause) {
    throw new StarlingError(
      "rtc-unavailable",
      "node-datachannel cannot be loaded; install the optional dependencies, or use werift",
      { cause },
    );
  }
}

class NativeStack implements RtcStack {
  readonly name = "native";
  readonly maxFrameBytes = MAX_FRAME_BYTES;
  readonly #library: Datachannel;
  readonly #ledger = new RtcLedger();

  constructor(library: Datachannel) {
    this.#library = library;
  }

  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection {
    return new NativeConnection(options, notify, (servers) => this.#create(options, servers), this.#ledger.enter());
  }

  close(): Promise<void> {
    return this.#ledger.settled();
  }

  #create(options: RtcOptions, servers: ServerChoice): datachannel.PeerConnection {
    const { stun, turn } = servers;
    const iceServers: datachannel.IceServer[] = [];
    if (stun !== undefined) iceServers.push({ hostname: stun.host, port: stun.port });
    // Not as a URL: user names of time-limited credentials contain colons.
    if (turn !== undefined) {
      const { host: hostname, port, username, credential: password } = turn;
      iceServers.push({ hostname, port, username, password, relayType: "TurnUdp" });
    }
    const { portRange } = options;
    const bindAddress = options.extraAddresses?.[0];
    return new this.#library.PeerConnection(LABEL, {
      iceServers,
      iceTransportPolicy: options.iceTransportPolicy ?? "all",
      disableAutoNegotiation: true,
      // One more than we take: the library cuts longer messages to this length and delivers them.
      maxMessageSize: MAX_FRAME_BYTES + 1,
      ...(bindAddress !== undefined && isLoopbackOnly() ? { bindAddress } : {}),
      ...(portRange === undefined ? {} : { portRangeBegin: portRange[0], portRangeEnd: portRange[1] }),
    });
  }
}

/** What a connection holds in each phase of its life. */
type Phase =
  | { readonly at: "new" }
  | { readonly at: "connecting" | "open"; readonly peer: datachannel.PeerConnection; channel?: datachannel.DataChannel }
  | { readonly at: "closed" };

class NativeConnection implements RtcConnection {
  readonly #options: RtcOptions;
  readonly #rules: CandidateRules;
  readonly #outlet: RtcOutlet;
  readonly #create: (servers: ServerChoice) => datachannel.PeerConnection;
  readonly #dispose: (disposal: Promise<void>) => void;
  /** The library throws on a candidate that comes before the description. */
  readonly #candidates: CandidateInbox;
  readonly #ownCandidates: CandidateOutbox;
  /** Settles when the library has let go of the connection and of the channel. */
  readonly #released: Promise<unknown>[] = [];
  #phase: Phase = { at: "new" };
  #lowWaterMark = 0;
  #isIceConnected = false;

  constructor(
    options: RtcOptions,
    notify: (event: RtcEvent) => void,
    create: (servers: ServerChoice) => datachannel.PeerConnection,
    dispose: (disposal: Promise<void>) => void,
  ) {
    this.#options = options;
    // A relay-only policy keeps the library from offering direct paths, not from trying those that the peer offers.
    this.#rules = {
      keepLocalNames: options.keepLocalNames ?? false,
      onlyRelays: options.iceTransportPolicy === "relay",
    };
    this.#outlet = new RtcOutlet(notify);
    this.#create = create;
    this.#dispose = dispose;
    const send = (candidate: string, mid: string) => this.#outlet.emit({ type: "candidate", candidate, mid });
    this.#ownCandidates = new CandidateOutbox(options.extraAddresses ?? [], options.initiator, send);
    const add = (candidate: string, mid: string) => this.#addCandidate(candidate, mid);
    this.#candidates = new CandidateInbox(this.#rules, add);
  }

  offer(): void {
    assert(this.#options.initiator, "the answerer does not offer");
    this.#start((peer) => {
      this.#adopt(peer.createDataChannel(LABEL));
      peer.setLocalDescription("offer");
    });
  }

  answer(offer: string): void {
    assert(!this.#options.initiator, "the initiator does not answer");
    const description = remoteDescription(offer, "offer", this.#rules);
    if (!description.ok) {
      this.#end(description.fault);
      return;
    }
    this.#start((peer) => {
      peer.setRemoteDescription(takePassiveRole(description.sdp), "offer");
      peer.setLocalDescription("answer");
      this.#candidates.open();
    });
  }

  accept(answer: string): void {
    const phase = this.#phase;
    if (phase.at === "closed") return;
    assert(phase.at === "connecting" && this.#options.initiator, "an answer follows an offer");
    const description = remoteDescription(answer, "answer", this.#rules);
    if (!description.ok) {
      this.#end(description.fault);
      return;
    }
    this.#try(() => {
      phase.peer.setRemoteDescription(description.sdp, "answer");
      this.#candidates.open();
      this.#ownCandidates.answered();
    });
  }

  candidate(candidate: string, mid: string): void {
    this.#candidates.take(candidate, mid);
  }

  send(frame: Uint8Array): boolean {
    assert(frame.length > 0 && frame.length <= MAX_FRAME_BYTES, "a frame has 1 to 65,536 bytes");
    const phase = this.#phase;
    if (phase.at !== "open" || phase.channel === undefined) return false;
    try {
      // Returns false when it had to queue the frame, which is no failure; throws when the channel is gone.
      phase.channel.sendMessageBinary(frame);
      return true;
    } catch (error) {
      this.#end(reasonOf(error));
      return false;
    }
  }

  get bufferedAmount(): number {
    const phase = this.#phase;
    return phase.at === "open" ? (phase.channel?.bufferedAmount() ?? 0) : 0;
  }

  get lowWaterMark(): number {
    return this.#lowWaterMark;
  }

  set lowWaterMark(bytes: number) {
    this.#lowWaterMark = bytes;
    const phase = this.#phase;
    if (phase.at === "open") this.#try(() => phase.channel?.setBufferedAmountLowThreshold(bytes));
  }

  remoteFingerprint(): Uint8Array | undefined {
    const phase = this.#phase;
    if (phase.at !== "open") return undefined;
    const { algorithm, value } = phase.peer.remoteFingerprint();
    return algorithm === "sha-256" ? Uint8Array.from(Buffer.from(value.replaceAll(":", ""), "hex")) : undefined;
  }

  selectedPair(): CandidatePair | undefined {
    const phase = this.#phase;
    if ((phase.at !== "connecting" && phase.at !== "open") || !this.#isIceConnected) return undefined;
    const pair = phase.peer.getSelectedCandidatePair();
    if (pair === null) return undefined;
    const { local, remote } = pair;
    return {
      local: summaryOf(local.type, local.address, local.port),
      remote: this.#candidates.named(summaryOf(remote.type, remote.address, remote.port)),
    };
  }

  close(): void {
    this.#end("closed here");
  }

  #start(step: (peer: datachannel.PeerConnection) => void): void {
    if (this.#phase.at === "closed") return;
    assert(this.#phase.at === "new", "a connection is negotiated once");
    const servers = chooseServers(this.#options, ["udp"]);
    if (typeof servers === "string") {
      this.#end(servers);
      return;
    }
    this.#try(() => {
      const peer = this.#create(servers);
      this.#phase = { at: "connecting", peer };
      this.#listen(peer);
      step(peer);
    });
  }

  #listen(peer: datachannel.PeerConnection): void {
    const released = Promise.withResolvers<void>();
    this.#released.push(released.promise);
    // First: without it the library never lets go.
    peer.onStateChange((state) => {
      if (state === "closed") released.resolve();
      if (state === "failed" || state === "disconnected" || state === "closed")
        this.#end(`native: connection ${state}`);
    });
    peer.onLocalDescription((sdp, kind) => {
      if (kind === "offer") this.#outlet.emit({ type: "description", kind, sdp: offerPassiveRole(sdp) });
      if (kind === "answer") this.#outlet.emit({ type: "description", kind, sdp });
    });
    peer.onLocalCandidate((candidate, mid) => this.#ownCandidates.take(candidate.replace(/^a=/, ""), mid));
    peer.onIceStateChange((state) => {
      if (state === "connected" || state === "completed") this.#try(() => this.#iceConnected(peer));
    });
    peer.onDataChannel((channel) => {
      this.#try(() => {
        const phase = this.#phase;
        const isExpected = !this.#options.initiator && phase.at === "connecting" && phase.channel === undefined;
        if (!isExpected) this.#end("a second data channel");
        this.#adopt(channel);
      });
    });
  }

  #iceConnected(peer: datachannel.PeerConnection): void {
    if (this.#isIceConnected || this.#outlet.ended) return;
    this.#isIceConnected = true;
    this.#ownCandidates.release();
    // The peer's own checks may have come in on a direct path all the same.
    if (this.#options.iceTransportPolicy === "relay" && peer.getSelectedCandidatePair()?.local.type !== "relay") {
      this.#end("relay only, but a direct path was taken");
      return;
    }
    this.#outlet.emit({ type: "ice-connected" });
  }

  /** Listens to the channel; also to one that is not wanted, so that the library lets go of it. */
  #adopt(channel: datachannel.DataChannel): void {
    const released = Promise.withResolvers<void>();
    channel.onClosed(() => {
      released.resolve();
      this.#end("the peer closed the channel");
    });
    // An answerer hears of its channel when it is open; if it is not, it has been closed since, and nothing more comes.
    const isGone = !this.#options.initiator && !channel.isOpen();
    if (isGone) {
      this.#end("the peer closed the channel");
      return;
    }
    this.#released.push(released.promise);
    const phase = this.#phase;
    if (phase.at === "closed") {
      channel.close();
      return;
    }
    if (phase.at !== "connecting") return;
    phase.channel = channel;
    channel.onError((error) => this.#end(`native: ${error}`));
    channel.onBufferedAmountLow(() => {
      // It may come late, when more has been queued since; another follows then.
      if (this.bufferedAmount <= this.#lowWaterMark) this.#outlet.emit({ type: "drained" });
    });
    channel.onOpen(() => this.#try(() => this.#opened(channel)));
    channel.onMessage((message) => this.#message(channel, message));
    if (!this.#options.initiator) this.#opened(channel);
  }

  #opened(channel: datachannel.DataChannel): void {
    const phase = this.#phase;
    if (phase.at !== "connecting") return;
    this.#phase = { at: "open", peer: phase.peer, channel };
    channel.setBufferedAmountLowThreshold(this.#lowWaterMark);
    // Its queue may be behind that of the channel.
    this.#iceConnected(phase.peer);
    this.#outlet.emit({ type: "open" });
  }

  #message(channel: datachannel.DataChannel, message: string | Uint8Array | ArrayBuffer): void {
    if (this.#phase.at !== "open") {
      this.#try(() => this.#opened(channel));
      if (this.#outlet.ended) return;
    }
    if (typeof message === "string") {
      this.#end("a text message");
      return;
    }
    const bytes = message instanceof Uint8Array ? message : new Uint8Array(message);
    if (bytes.length > MAX_FRAME_BYTES) {
      this.#end(`a frame of ${bytes.length} bytes`);
      return;
    }
    if (bytes.length > 0) this.#outlet.emit({ type: "frame", bytes });
  }

  /** A candidate that the library refuses (no such address family here, another media section) is one less. */
  #addCandidate(candidate: string, mid: string): void {
    const phase = this.#phase;
    if (phase.at !== "connecting" && phase.at !== "open") return;
    try {
      phase.peer.addRemoteCandidate(candidate, mid);
    } catch {}
  }

  /** What the library throws is the end of the connection, not of the process. */
  #try(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#end(reasonOf(error));
    }
  }

  #end(reason: string): void {
    if (!this.#outlet.end(reason)) return;
    this.#ownCandidates.close();
    const phase = this.#phase;
    this.#phase = { at: "closed" };
    if (phase.at === "connecting" || phase.at === "open") {
      // The library closes channels that have a stream. Closing such a one here as well would now and then lose its last
      // callback, namely when the peer closes it at the same moment, and the process would never exit.
      if (phase.channel?.getId() === NO_STREAM) phase.channel.close();
      phase.peer.close();
    }
    this.#dispose(Promise.all(this.#released).then(() => {}));
  }
}
