import { systemRandom } from "../../../src/drivers/entropy.ts";
import { chooseStack } from "../../../src/drivers/rtc.auto.ts";
import { connectSignaling, type SignalingConnection, type SignalingEvent } from "../../../src/drivers/signaling.ts";
import { concat } from "../../../src/proto/bytes.ts";
import { decodePayload } from "../../../src/proto/membership/messages.ts";
import { RecordShelf } from "../../../src/proto/membership/record.ts";
import type { RtcConnection, RtcEvent } from "../../../src/proto/negotiation/rtc.ts";
import { parseSdp } from "../../../src/proto/negotiation/sdp.ts";
import { decodeSignalBody, encodeSignalBody, type SignalBody } from "../../../src/proto/negotiation/signal.ts";
import { type PeerId, publicKeyOf } from "../../../src/proto/peer-id.ts";
import { decodeLetter, encodeLetter, encodeSignalContent } from "../../../src/proto/session/envelope.ts";
import { encodeHello, encodeProof, LINK_VERSIONS, parseHello } from "../../../src/proto/session/hello.ts";
import { decodeRefusal, type RefusalReason } from "../../../src/proto/session/refusal.ts";
import { encodeReady } from "../../../src/proto/session/resumption.ts";
import {
  admissionMacKey,
  proofBody,
  proofMac,
  type Role,
  transcriptHash,
} from "../../../src/proto/session/transcript.ts";
import type { NodeIdentity } from "../../../src/proto/trust/crypto.ts";
import { FrameKind } from "../../../src/proto/wire/frame-kind.ts";
import type { RtcStack } from "../../../src/rtc.ts";
import { crypto } from "./lab.ts";

/** How long a raw peer waits for an answer, ms. */
const PATIENCE_MS = 10_000;

/** An open data channel without anything above it: the test decides what is said. */
export class RawChannel {
  readonly role: Role;
  readonly localFingerprint: Uint8Array;
  readonly remoteFingerprint: Uint8Array;
  readonly heard: Uint8Array[] = [];
  readonly closed: Promise<void>;
  /** Takes frames in place of `next`, once set. */
  pipe: ((frame: Uint8Array) => void) | undefined;
  readonly #connection: RtcConnection;
  #wake: (() => void) | undefined;
  #over = false;

  constructor(
    connection: RtcConnection,
    facts: { readonly role: Role; readonly local: string; readonly remote: string; readonly closed: Promise<void> },
  ) {
    this.#connection = connection;
    this.role = facts.role;
    this.localFingerprint = fingerprintOf(facts.local);
    this.remoteFingerprint = fingerprintOf(facts.remote);
    this.closed = facts.closed.then(() => {
      this.#over = true;
      this.#wake?.();
    });
  }

  take(frame: Uint8Array): void {
    if (this.pipe) this.pipe(frame);
    else this.heard.push(frame);
    this.#wake?.();
  }

  send(frame: Uint8Array): void {
    this.#connection.send(frame);
  }

  /** The next frame; undefined when the channel ends before one comes. */
  async next(): Promise<Uint8Array | undefined> {
    while (this.heard.length === 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.heard.shift();
  }

  close(): void {
    this.#connection.close();
  }
}

/** What a raw peer claims and has: each part may be somebody else's. */
export interface Claims {
  readonly clusterId: string;
  /** Whom the hello names; default: the raw peer itself. */
  readonly id?: PeerId;
  readonly token: string;
  /** Default: a key that nobody knows. */
  readonly clusterKey?: Uint8Array;
}

/** What became of a handshake, and the frames that this side sent. */
export interface Handshake {
  readonly outcome: "admitted" | "closed" | RefusalReason;
  readonly sent: readonly Uint8Array[];
}

/** A peer that keeps no rule but those it has to keep to get as far as an open channel. */
export class RawPeer {
  readonly identity: NodeIdentity;
  readonly box = crypto.boxKeyPair();
  /** X25519 keys of those it was introduced to, or was told of by hand. */
  readonly boxKeys = new Map<PeerId, Uint8Array>();
  readonly #clusterId: string;
  readonly #stack: RtcStack;
  readonly #dials = new Map<string, Dial>();
  readonly #shelf = new RecordShelf(16);
  #signaling: SignalingConnection | undefined;
  /** Hands a letter to whoever carries it. */
  post: (to: PeerId, letter: Uint8Array) => void = () => undefined;
  /** Takes the channels of those who dial. */
  dialed: (channel: RawChannel, from: PeerId) => void = (channel) => channel.close();
  #time = Date.now();

  private constructor(identity: NodeIdentity, clusterId: string, stack: RtcStack) {
    this.identity = identity;
    this.#clusterId = clusterId;
    this.#stack = stack;
  }

  /** One without a server: the test carries its letters. */
  static async alone(identity: NodeIdentity, clusterId: string): Promise<RawPeer> {
    return new RawPeer(identity, clusterId, await chooseStack("auto"));
  }

  /** One that has logged in and knows whom the server has introduced. */
  static async login(identity: NodeIdentity, clusterId: string, url: string, token: string): Promise<RawPeer> {
    const peer = await RawPeer.alone(identity, clusterId);
    const random = systemRandom();
    let serial = 0;
    await new Promise<void>((resolve, reject) => {
      peer.#signaling = connectSignaling(
        {
          url,
          peer: identity.id,
          cluster: clusterId,
          run: { instance: crypto.randomBytes(16), startedAt: Date.now() },
          credential: { kind: "member", token, expiresAt: Date.now() + 3_600_000 },
          keys: {
            sign: (label, body) => identity.sign(label, body),
            verify: (statement) => crypto.verify(statement),
            askDesk: () => "it has a token",
          },
          random,
          now: () => Date.now(),
        },
        (event: SignalingEvent) => {
          if (event.type === "ready") {
            for (const record of event.introductions) peer.#introduced(record);
            resolve();
          } else if (event.type === "stopped") reject(new Error(event.reason));
          else if (event.type === "signal") peer.letter(event.bytes);
        },
      );
      peer.post = (to, bytes) => peer.#signaling?.command({ type: "signal", to, bytes, id: ++serial });
    });
    return peer;
  }

  async close(): Promise<void> {
    for (const { connection } of this.#dials.values()) connection.close();
    await this.#signaling?.close();
    await this.#stack.close();
  }

  /** Dials with letters that keep the rules, up to the open channel. */
  dial(to: PeerId): Promise<RawChannel> {
    const id = crypto.randomBytes(16);
    const dial = this.#begin(id, to, "dialer");
    dial.connection.offer();
    return dial.opened;
  }

  /** A letter has come. */
  letter(bytes: Uint8Array): void {
    const key = bytes.slice(0, 32);
    const plain = crypto.open(bytes.subarray(32), key, this.box.secretKey);
    const letter = plain && decodeLetter(plain);
    const body = letter && decodeSignalBody(letter.content.payload);
    if (!letter || !body) return;
    const { sender, dial: id } = letter.content;
    this.boxKeys.set(sender, key);
    let dial = this.#dials.get(hex(id));
    if (!dial && body.kind === "offer") {
      dial = this.#begin(id, sender, "answerer");
      dial.remote = body.sdp;
      dial.connection.answer(body.sdp);
      void dial.opened.then(
        (channel) => this.dialed(channel, sender),
        () => undefined,
      );
    } else if (dial && body.kind === "answer") {
      dial.remote = body.sdp;
      dial.connection.accept(body.sdp);
    } else if (dial && body.kind === "candidates") {
      for (const { candidate, mid } of body.candidates) dial.connection.candidate(candidate, mid);
    }
  }

  /** The letter that says `body`, signed by `signer`, which need not be the sender that it names. */
  sealed(
    to: PeerId,
    dial: { readonly id: Uint8Array; sequence: number },
    body: SignalBody,
    forged: { readonly sender?: PeerId } = {},
  ): Uint8Array {
    this.#time = Math.max(this.#time + 1, Date.now());
    const content = encodeSignalContent({
      sender: forged.sender ?? this.identity.id,
      recipient: to,
      clusterId: this.#clusterId,
      dial: dial.id,
      sequence: dial.sequence++,
      time: this.#time,
      payload: encodeSignalBody(body),
    });
    const letter = encodeLetter(content, this.identity.sign("starling/signal/1", content));
    const key = this.boxKeys.get(to);
    const box = key && crypto.seal(letter, key, this.box.secretKey);
    if (!box) throw new Error("no key of the recipient is known");
    return concat(this.box.publicKey, box);
  }

  /** A hello frame that claims what it likes. */
  hello({ id = this.identity.id, token }: Claims, nonce = crypto.randomBytes(32)): Uint8Array {
    return encodeHello({ versions: LINK_VERSIONS, id, nonce, token, boxKey: this.box.publicKey, epoch: 1 });
  }

  /** Says hello, proof and ready as an honest member would, with whatever it claims. */
  async handshake(channel: RawChannel, claims: Claims): Promise<Handshake> {
    const sent: Uint8Array[] = [];
    const send = (frame: Uint8Array): void => {
      sent.push(frame.slice());
      channel.send(frame);
    };
    const { clusterId, id = this.identity.id, clusterKey = crypto.randomBytes(32) } = claims;
    const nonce = crypto.randomBytes(32);
    const hello = this.hello(claims, nonce);
    send(hello);
    const theirHello = await channel.next();
    if (!theirHello || theirHello[0] !== FrameKind.hello) return { outcome: outcomeOf(theirHello), sent };
    const parsed = parseHello(theirHello, LINK_VERSIONS);
    if (!parsed.ok) throw new Error("an honest hello is well-formed");
    const ours = { identity: publicKeyOf(id), nonce, hello, fingerprint: channel.localFingerprint };
    const theirs = {
      identity: publicKeyOf(parsed.hello.id),
      nonce: parsed.hello.nonce,
      hello: theirHello,
      fingerprint: channel.remoteFingerprint,
    };
    const isDialer = channel.role === "dialer";
    const transcript = isDialer ? transcriptHash(clusterId, ours, theirs) : transcriptHash(clusterId, theirs, ours);
    const body = proofBody(channel.role, transcript);
    const mac = proofMac(admissionMacKey(clusterKey, 1), body);
    send(encodeProof({ signature: this.identity.sign("starling/admission/1", body), mac }));
    for (let frame = await channel.next(); ; frame = await channel.next()) {
      // Satisfied with any proof: who lies has no use for the truth of others.
      if (frame?.[0] === FrameKind.proof) send(encodeReady());
      else return { outcome: outcomeOf(frame), sent };
    }
  }

  #introduced(bytes: Uint8Array): void {
    const payload = decodePayload(bytes, this.#shelf);
    if (payload?.type === "record") this.boxKeys.set(payload.record.id, payload.record.exchangeKey);
  }

  #begin(id: Uint8Array, peer: PeerId, role: Role): Dial {
    const opened = Promise.withResolvers<RawChannel>();
    const closed = Promise.withResolvers<void>();
    const patience = setTimeout(() => opened.reject(new Error("the channel did not open")), PATIENCE_MS);
    const head = { id, sequence: 0 };
    let channel: RawChannel | undefined;
    const say = (body: SignalBody): void => this.post(peer, this.sealed(peer, head, body));
    const notify = (event: RtcEvent): void => {
      switch (event.type) {
        case "description":
          dial.local = event.sdp;
          say(
            event.kind === "offer"
              ? { kind: "offer", round: 1, rung: 0, sdp: event.sdp }
              : { kind: "answer", round: 1, sdp: event.sdp },
          );
          for (const candidate of dial.waiting.splice(0))
            say({ kind: "candidates", round: 1, candidates: [candidate] });
          break;
        case "candidate":
          if (dial.local === "") dial.waiting.push(event);
          else say({ kind: "candidates", round: 1, candidates: [event] });
          break;
        case "open":
          clearTimeout(patience);
          channel = new RawChannel(dial.connection, {
            role,
            local: dial.local,
            remote: dial.remote,
            closed: closed.promise,
          });
          opened.resolve(channel);
          break;
        case "frame":
          channel?.take(event.bytes);
          break;
        case "closed":
          clearTimeout(patience);
          opened.reject(new Error(`the channel did not open: ${event.reason}`));
          closed.resolve();
          break;
      }
    };
    const options = { initiator: role === "dialer", iceServers: [], extraAddresses: ["127.0.0.1"] };
    const connection = this.#stack.connect(options, notify);
    const dial: Dial = { connection, local: "", remote: "", waiting: [], opened: opened.promise };
    this.#dials.set(hex(id), dial);
    return dial;
  }
}

interface Dial {
  readonly connection: RtcConnection;
  local: string;
  remote: string;
  readonly waiting: { readonly candidate: string; readonly mid: string }[];
  readonly opened: Promise<RawChannel>;
}

function outcomeOf(frame: Uint8Array | undefined): Handshake["outcome"] {
  if (frame === undefined) return "closed";
  if (frame[0] === FrameKind.refusal) return decodeRefusal(frame);
  return frame[0] === FrameKind.ready ? "admitted" : "out-of-order";
}

function fingerprintOf(sdp: string): Uint8Array {
  const parsed = parseSdp(sdp);
  if (!parsed.ok) throw new Error(`a description of ours is ${parsed.fault}`);
  return parsed.fingerprint;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
