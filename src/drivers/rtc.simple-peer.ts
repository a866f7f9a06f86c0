import { StarlingError } from "../errors.ts";
import { assert } from "../proto/assert.ts";
import type { CandidatePair, RtcConnection, RtcEvent, RtcOptions } from "../proto/negotiation/rtc.ts";
import { parseSdp } from "../proto/negotiation/sdp.ts";
import type { RtcStack } from "../rtc.ts";
import { chooseServers } from "./rtc-ice-servers.ts";
import { RtcLedger } from "./rtc-ledger.ts";
import { CandidateOutbox } from "./rtc-native-candidates.ts";
import { RtcOutlet, reasonOf } from "./rtc-outlet.ts";
import { CandidateInbox, type CandidateRules, remoteDescription, takePassiveRole } from "./rtc-remote.ts";
import {
  channelOf,
  connectionOf,
  isConnected,
  isInitiator,
  type SimplePeerLike,
  selectedPairOf,
  splitCandidates,
  withPlainDescriptions,
} from "./rtc-simple-peer-parts.ts";

/**
 * WebRTC by simple-peer: over whatever W3C implementation it is given (`wrtc`), or the browser's own. It serves applications that
 * have simple-peer already, and that may hand over a connection that stands ({@link adoptSimplePeer}).
 *
 * The class is injected: Starling loads no simple-peer by itself. What it does by default and may not do here is switched
 * off: its public STUN servers, its stream that joins messages. It tells neither when DTLS is up nor which certificate was
 * presented; the fingerprint that is reported is that of the description which the implementation enforces.
 */

/** The largest frame: what RFC 8841 assumes of a peer that announces nothing. */
const MAX_FRAME_BYTES = 65_536;

const LABEL = "starling";

/** simple-peer's class, as far as it is used. */
export type SimplePeerConstructor = new (options: never) => SimplePeerLike;

export interface SimplePeerStackOptions {
  /** The class that `simple-peer` exports. */
  readonly Peer: SimplePeerConstructor;
  /** `RTCPeerConnection`, `RTCSessionDescription` and `RTCIceCandidate`; default: the browser's. */
  readonly wrtc?: object;
  /** Further fields of the `RTCConfiguration`. `iceServers` and `iceTransportPolicy` are always Starling's. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A stack over simple-peer, for `createAgent({ rtc })`. */
export function simplePeerStack(options: SimplePeerStackOptions): RtcStack {
  const ledger = new RtcLedger();
  return {
    name: "simple-peer",
    maxFrameBytes: MAX_FRAME_BYTES,
    connect: (how, notify) => new SimplePeerConnection(options, how, notify, ledger.enter()),
    close: () => ledger.settled(),
  };
}

/** An app's connection in Starling's hands. */
export interface AdoptedConnection extends RtcConnection {
  /** The side that made the offer is the dialer. */
  readonly role: "dialer" | "answerer";
  /** SHA-256 of our own certificate, 32 bytes. */
  readonly localFingerprint: Uint8Array;
}

/**
 * Takes over a simple-peer connection that is connected and carries nothing but Starling from here on: what arrives goes to
 * `notify`, `open` first. Both sides do so at about the same time, before either sends anything of its own.
 *
 * @throws StarlingError `usage` when it is not connected, `rtc-unavailable` when it cannot be told which certificates it
 * stands between: descriptions that are not there, have media, or name other than one SHA-256 fingerprint each. The connection is
 * then left as it was.
 */
export function adoptSimplePeer(peer: SimplePeerLike, notify: (event: RtcEvent) => void): AdoptedConnection {
  if (!isConnected(peer)) throw new StarlingError("usage", "only a simple-peer that is connected can be adopted");
  const local = fingerprintIn(peer, "localDescription");
  const remote = fingerprintIn(peer, "remoteDescription");
  const initiator = isInitiator(peer);
  const role = initiator ? "dialer" : "answerer";
  const connection = new SimplePeerConnection(undefined, { initiator, iceServers: [] }, notify, () => {});
  connection.adopt(peer, remote);
  return Object.assign(connection, { role, localFingerprint: local } as const);
}

function fingerprintIn(peer: SimplePeerLike, which: "localDescription" | "remoteDescription"): Uint8Array {
  const sdp = connectionOf(peer)?.[which]?.sdp;
  const parsed = typeof sdp === "string" ? parseSdp(sdp) : undefined;
  if (parsed?.ok) return parsed.fingerprint;
  const message = `the certificate in the ${which} cannot be told (${parsed?.fault ?? "it is not there"}); let Starling connect itself`;
  throw new StarlingError("rtc-unavailable", message);
}

/** What a connection holds in each phase of its life. */
type Phase = { readonly at: "new" | "closed" } | { readonly at: "connecting" | "open"; readonly peer: SimplePeerLike };

class SimplePeerConnection implements RtcConnection {
  readonly #stack: SimplePeerStackOptions | undefined;
  readonly #options: RtcOptions;
  readonly #rules: CandidateRules;
  readonly #outlet: RtcOutlet;
  readonly #dispose: (disposal: Promise<void>) => void;
  readonly #candidates: CandidateInbox;
  readonly #ownCandidates: CandidateOutbox;
  /** Candidates that come before the description that they belong to; undefined once that is out. */
  #early: [candidate: string, mid: string][] | undefined = [];
  #remoteFingerprint: Uint8Array | undefined;
  #pair: CandidatePair | undefined;
  #phase: Phase = { at: "new" };
  #lowWaterMark = 0;
  #isIceConnected = false;

  constructor(
    stack: SimplePeerStackOptions | undefined,
    options: RtcOptions,
    notify: (event: RtcEvent) => void,
    dispose: (disposal: Promise<void>) => void,
  ) {
    this.#stack = stack;
    this.#options = options;
    this.#rules = {
      keepLocalNames: options.keepLocalNames ?? false,
      onlyRelays: options.iceTransportPolicy === "relay",
    };
    this.#outlet = new RtcOutlet(notify);
    this.#dispose = dispose;
    const send = (candidate: string, mid: string) => this.#outlet.emit({ type: "candidate", candidate, mid });
    this.#ownCandidates = new CandidateOutbox(options.extraAddresses ?? [], options.initiator, send);
    this.#candidates = new CandidateInbox(this.#rules, (candidate, mid) => this.#addCandidate(candidate, mid));
  }

  /** Takes over a peer that is connected. */
  adopt(peer: SimplePeerLike, remoteFingerprint: Uint8Array): void {
    this.#remoteFingerprint = remoteFingerprint;
    this.#phase = { at: "connecting", peer };
    this.#listen(peer);
    queueMicrotask(() => this.#opened());
  }

  offer(): void {
    assert(this.#options.initiator, "the answerer does not offer");
    this.#start(() => undefined);
  }

  answer(offer: string): void {
    assert(!this.#options.initiator, "the initiator does not answer");
    this.#start((peer) => this.#describe(peer, "offer", offer));
  }

  accept(answer: string): void {
    const phase = this.#phase;
    if (phase.at === "closed") return;
    assert(phase.at === "connecting" && this.#options.initiator, "an answer follows an offer");
    this.#try(() => this.#describe(phase.peer, "answer", answer));
    this.#ownCandidates.release();
  }

  candidate(candidate: string, mid: string): void {
    this.#candidates.take(candidate, mid);
  }

  send(frame: Uint8Array): boolean {
    assert(frame.length > 0 && frame.length <= MAX_FRAME_BYTES, "a frame has 1 to 65,536 bytes");
    const phase = this.#phase;
    if (phase.at !== "open") return false;
    try {
      phase.peer.send(frame);
      return true;
    } catch (error) {
      this.#end(reasonOf(error));
      return false;
    }
  }

  get bufferedAmount(): number {
    const phase = this.#phase;
    return phase.at === "open" ? (channelOf(phase.peer)?.bufferedAmount ?? 0) : 0;
  }

  get lowWaterMark(): number {
    return this.#lowWaterMark;
  }

  set lowWaterMark(bytes: number) {
    this.#lowWaterMark = bytes;
    const phase = this.#phase;
    const channel = phase.at === "open" ? channelOf(phase.peer) : undefined;
    if (channel) channel.bufferedAmountLowThreshold = bytes;
  }

  remoteFingerprint(): Uint8Array | undefined {
    return this.#phase.at === "open" ? this.#remoteFingerprint : undefined;
  }

  selectedPair(): CandidatePair | undefined {
    return this.#phase.at === "closed" ? undefined : this.#pair;
  }

  close(): void {
    this.#end("closed here");
  }

  #start(step: (peer: SimplePeerLike) => void): void {
    const stack = this.#stack;
    if (this.#phase.at === "closed") return;
    assert(this.#phase.at === "new" && stack !== undefined, "a connection is negotiated once");
    const servers = chooseServers(this.#options, ["udp", "tcp", "tls"]);
    if (typeof servers === "string") {
      this.#end(servers);
      return;
    }
    const { initiator, iceServers, iceTransportPolicy = "all" } = this.#options;
    this.#try(() => {
      const options = {
        initiator,
        channelName: LABEL,
        trickle: true,
        // Messages keep their boundaries.
        objectMode: true,
        config: { ...stack.config, iceServers: iceServers.map((server) => ({ ...server })), iceTransportPolicy },
        ...(stack.wrtc && { wrtc: withPlainDescriptions(stack.wrtc) }),
      };
      const peer = new stack.Peer(options as never);
      this.#phase = { at: "connecting", peer };
      this.#listen(peer);
      step(peer);
    });
  }

  #describe(peer: SimplePeerLike, type: "offer" | "answer", text: string): void {
    const description = remoteDescription(text, type, this.#rules);
    const parsed = parseSdp(text);
    if (!description.ok || !parsed.ok) {
      this.#end(description.ok ? `unusable ${type}` : description.fault);
      return;
    }
    this.#remoteFingerprint = parsed.fingerprint;
    const { sdp, candidates } = splitCandidates(description.sdp);
    for (const candidate of candidates) this.#candidates.take(candidate, "0");
    peer.signal({ type, sdp: type === "offer" ? takePassiveRole(sdp) : sdp });
  }

  #listen(peer: SimplePeerLike): void {
    peer.on("error", (error: unknown) => this.#end(`simple-peer: ${reasonOf(error)}`));
    peer.on("close", () => this.#end("the peer closed the channel"));
    peer.on("signal", (signal: unknown) => this.#signal(signal));
    peer.on("iceStateChange", (state: unknown) => {
      if (state === "connected" || state === "completed") this.#try(() => this.#iceConnected(peer));
    });
    peer.on("signalingStateChange", () => {
      // Implementations refuse candidates that come before the description.
      if (this.#remoteFingerprint && connectionOf(peer)?.remoteDescription?.type) this.#candidates.open();
    });
    connectionOf(peer)?.addEventListener("connectionstatechange", () => {
      const state = connectionOf(peer)?.connectionState;
      if (state === "failed" || state === "closed") this.#end(`simple-peer: connection ${state}`);
    });
    peer.on("connect", () => this.#opened());
    peer.on("data", (data: unknown) => this.#data(data));
  }

  /** What simple-peer wants to be carried to its like: our description and candidates; other wishes have no place here. */
  #signal(signal: unknown): void {
    if (typeof signal !== "object" || signal === null) return;
    const { type, sdp, candidate } = signal as Record<string, unknown>;
    if ((type === "offer" || type === "answer") && typeof sdp === "string") {
      // By now it may hold candidates; each comes by itself too, at its own time.
      this.#outlet.emit({ type: "description", kind: type, sdp: splitCandidates(sdp).sdp });
      for (const [text, mid] of this.#early ?? []) this.#ownCandidates.take(text, mid);
      this.#early = undefined;
    } else if (typeof candidate === "object" && candidate !== null) {
      const { candidate: text, sdpMid } = candidate as Record<string, unknown>;
      if (typeof text !== "string" || text === "") return;
      const own: [string, string] = [text.replace(/^a=/, ""), typeof sdpMid === "string" ? sdpMid : "0"];
      if (this.#early) this.#early.push(own);
      else this.#ownCandidates.take(...own);
    }
  }

  #iceConnected(peer: SimplePeerLike): void {
    if (this.#isIceConnected || this.#outlet.ended) return;
    this.#isIceConnected = true;
    this.#outlet.emit({ type: "ice-connected" });
    void this.#learnPair(peer);
  }

  async #learnPair(peer: SimplePeerLike): Promise<void> {
    const pair = await selectedPairOf(peer).catch(() => undefined);
    if (pair === undefined || this.#outlet.ended) return;
    this.#pair = pair;
    // The peer's own checks may have come in on a direct path all the same.
    if (this.#options.iceTransportPolicy === "relay" && pair.local.kind !== "relay")
      this.#end("relay only, but a direct path was taken");
  }

  #opened(): void {
    const phase = this.#phase;
    if (phase.at !== "connecting") return;
    const channel = channelOf(phase.peer);
    if (channel === undefined) {
      this.#end("simple-peer shows no channel");
      return;
    }
    this.#iceConnected(phase.peer);
    if (this.#outlet.ended) return;
    this.#phase = { at: "open", peer: phase.peer };
    channel.bufferedAmountLowThreshold = this.#lowWaterMark;
    channel.addEventListener("bufferedamountlow", () => {
      // It may come late, when more has been queued since; another follows then.
      if (this.bufferedAmount <= this.#lowWaterMark) this.#outlet.emit({ type: "drained" });
    });
    void this.#learnPair(phase.peer);
    this.#outlet.emit({ type: "open" });
  }

  #data(data: unknown): void {
    // The first frame may come before simple-peer has found out over which path.
    if (this.#phase.at === "connecting") this.#opened();
    if (this.#outlet.ended) return;
    if (!(data instanceof Uint8Array)) {
      this.#end("a text message");
      return;
    }
    if (data.length > MAX_FRAME_BYTES) {
      this.#end(`a frame of ${data.length} bytes`);
      return;
    }
    // A view that is no Buffer, whose `slice` differs.
    if (data.length > 0)
      this.#outlet.emit({ type: "frame", bytes: new Uint8Array(data.buffer, data.byteOffset, data.length) });
  }

  /** Not by way of simple-peer, which ends the connection over a candidate that the implementation refuses. */
  #addCandidate(candidate: string, mid: string): void {
    const phase = this.#phase;
    if (phase.at !== "connecting" && phase.at !== "open") return;
    const added = connectionOf(phase.peer)?.addIceCandidate({ candidate, sdpMid: mid, sdpMLineIndex: 0 });
    added?.catch(() => undefined);
  }

  #try(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#end(reasonOf(error));
    }
  }

  #end(reason: string): void {
    if (!this.#outlet.end(reason)) return;
    const phase = this.#phase;
    this.#phase = { at: "closed" };
    const released = Promise.withResolvers<void>();
    if (phase.at !== "connecting" && phase.at !== "open") released.resolve();
    else if (phase.peer.destroyed) released.resolve();
    else {
      phase.peer.on("close", () => released.resolve());
      phase.peer.destroy();
    }
    this.#dispose(released.promise);
  }
}
