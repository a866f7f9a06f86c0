import { assert, unreachable } from "../assert.ts";
import { equalBytes } from "../bytes.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { type Random, randomBytes } from "../random.ts";
import type { Sign, Signature, TokenFacts, Verified, Verify } from "../signed.ts";
import { rightOfFrame } from "../trust/rights.ts";
import { FrameKind } from "../wire/frame-kind.ts";
import * as frames from "./hello.ts";
import { decodeRefusal, encodeRefusal, type RefusalReason, type TokenRefusal } from "./refusal.ts";
import {
  type AdmittedSession,
  encodeReady,
  type HeldSession,
  type Progress,
  parseReady,
  sessionIdOf,
} from "./resumption.ts";
import { ADMISSION_LABEL, otherRole, proofBody, proofMac, type Role, transcriptHash } from "./transcript.ts";

/**
 * The one gate of a link: two agents on an open data channel prove to each other who they are before anything else passes.
 *
 * Both sides send a *hello* at once. With both hellos known, each computes the same transcript (`transcript.ts`: cluster,
 * identities, nonces, hellos, DTLS certificates) and sends a *proof*: its Ed25519 signature and a MAC under a key derived
 * from the cluster key, each over its own role and the transcript. A peer's MAC is checked first and here, in constant
 * time; only then is the driver asked for the expensive part, signature and member token in one check. So a stranger
 * without the cluster key costs a few hashes and one signature of ours, and learns nothing. A side that is satisfied and has sent its own proof says
 * *ready*; the peer is admitted when we are satisfied and it is, too. Without that last word the faster side would send
 * link frames to a side that is still checking, and a dialer would take for open what the other end is about to refuse.
 *
 * An echo fails because the role is in the proof; a replay because our nonce is in the transcript; a man in the middle
 * because the certificates are; a foreign cluster because of the MAC key. Anything else before admission ends it.
 * Everything takes {@link ADMISSION_LIMIT_MS} at most.
 *
 * The same gate lets a session go on over another channel (`resumption.ts`): nothing of it is spared, so a resumption is worth
 * as much as a first admission.
 *
 * It trusts the caller for the two fingerprints: what the stack reports as presented, else what it enforces. It decides
 * neither scopes nor the fate of the channel: after `refused` the driver flushes the last frame and closes.
 */

/** Time from the open channel to admission, ms: four flights even at 500 ms each, and a slow signature on both sides. */
export const ADMISSION_LIMIT_MS = 5_000;

export interface AdmissionOptions {
  readonly role: Role;
  readonly self: PeerId;
  /** Who must be at the other end; absent where that is not known (an adopted connection). */
  readonly expected?: PeerId;
  readonly clusterId: string;
  /** Our member token. */
  readonly token: string;
  /** Our X25519 public key of this start, 32 bytes. */
  readonly boxKey: Uint8Array;
  /** The newest cluster-key epoch that we hold; {@link macKey} knows it. Both sides prove under the older of theirs. */
  readonly epoch: number;
  /** The key of `admissionMacKey` for each epoch that is still accepted; undefined for any other. */
  readonly macKey: (epoch: number) => Uint8Array | undefined;
  /** SHA-256 of this channel's certificates, 32 bytes each. */
  readonly localFingerprint: Uint8Array;
  readonly remoteFingerprint: Uint8Array;
  /** For the nonce: the system's CSPRNG outside tests. */
  readonly random: Random;
  /** The session with the expected peer that may go on over this channel. */
  readonly session?: HeldSession;
  /** Default {@link frames.LINK_VERSIONS}. */
  readonly versions?: frames.VersionRange;
}

/** One handshake per machine, so an answer needs nothing to find its question. */
export type AdmissionResume = "admission";

export type AdmissionInput =
  /** The channel is open: the first input, once. */
  | { readonly type: "open" }
  | { readonly type: "frame"; readonly bytes: Uint8Array }
  | Signature<AdmissionResume>
  | Verified<AdmissionResume>
  /** The answer to `verify` when something in it does not hold. */
  | { readonly type: "rejected"; readonly reason: TokenRefusal }
  /** The channel is gone. */
  | { readonly type: "closed" }
  | { readonly type: "timeout" };

/** What is known of a peer that has been admitted. */
export interface AdmittedPeer {
  readonly id: PeerId;
  readonly token: TokenFacts;
  /** Its X25519 public key of this start, 32 bytes. */
  readonly boxKey: Uint8Array;
  /** The version to speak on this link. */
  readonly version: number;
  /** The cluster-key epoch under which both proved themselves. */
  readonly epoch: number;
}

export type AdmissionOutput =
  | { readonly type: "send"; readonly frame: Uint8Array }
  | Sign<AdmissionResume>
  | Verify<AdmissionResume>
  /** The end, well: further frames belong to the link. */
  | { readonly type: "admitted"; readonly peer: AdmittedPeer; readonly session: AdmittedSession }
  /** The end, badly; `by` says who ended it. */
  | { readonly type: "refused"; readonly by: "local" | "remote" | "channel"; readonly reason: RefusalReason };

/** How far the check of the peer's proof is. */
type Check =
  | { readonly step: "awaited" }
  | { readonly step: "running" }
  | { readonly step: "passed"; readonly token: TokenFacts };

type State =
  | { readonly type: "fresh" }
  /** Our hello is out, the peer's is not in. */
  | { readonly type: "greeting"; readonly until: Instant }
  | {
      readonly type: "proving";
      readonly until: Instant;
      readonly peer: Omit<AdmittedPeer, "token">;
      readonly peerToken: string;
      /** The key that both prove to hold. */
      readonly key: Uint8Array;
      /** What the peer must prove. */
      readonly expectedBody: Uint8Array;
      /** What we prove. */
      readonly ownBody: Uint8Array;
      check: Check;
      proofSent: boolean;
      /** The session that this admission begins, or goes on with. */
      readonly sessionId: Uint8Array;
      readonly resumes: HeldSession | undefined;
      /** Where we said that we stand, and the peer. */
      ready: Progress | undefined;
      peerReady: Progress | undefined;
    }
  | { readonly type: "over" };

/** Where both sides stand in a session that begins. */
const NEW: Progress = { received: 0, cut: false };

type Proving = Extract<State, { type: "proving" }>;

export class Admission implements Machine<AdmissionInput, AdmissionOutput> {
  readonly #options: AdmissionOptions;
  readonly #versions: frames.VersionRange;
  readonly #nonce: Uint8Array;
  readonly #hello: Uint8Array;
  #state: State = { type: "fresh" };

  constructor(options: AdmissionOptions) {
    assert(options.macKey(options.epoch) !== undefined, "an agent holds the cluster key of its own epoch");
    assert(options.localFingerprint.length === 32, "a SHA-256 fingerprint has 32 bytes");
    assert(options.remoteFingerprint.length === 32, "a SHA-256 fingerprint has 32 bytes");
    this.#options = options;
    this.#versions = options.versions ?? frames.LINK_VERSIONS;
    this.#nonce = randomBytes(options.random, 32);
    this.#hello = frames.encodeHello({
      versions: this.#versions,
      id: options.self,
      nonce: this.#nonce,
      token: options.token,
      boxKey: options.boxKey,
      epoch: options.epoch,
      session: options.session?.id,
    });
  }

  deadline(): Instant | undefined {
    const state = this.#state;
    return state.type === "greeting" || state.type === "proving" ? state.until : undefined;
  }

  handle(input: AdmissionInput, now: Instant): readonly AdmissionOutput[] {
    const state = this.#state;
    if (state.type === "over") return NOTHING;
    if (state.type === "fresh") {
      assert(input.type === "open", "admission begins with the open channel");
      this.#state = { type: "greeting", until: now + ADMISSION_LIMIT_MS };
      return [{ type: "send", frame: this.#hello.slice() }];
    }
    switch (input.type) {
      case "open":
        assert(false, "a channel opens once");
        return NOTHING;
      case "frame":
        return this.#frame(state, input.bytes);
      case "signed":
        assert(state.type === "proving" && !state.proofSent, "one signature is asked for");
        return this.#prove(state, input.signature);
      case "verified":
        assert(state.type === "proving" && state.check.step === "running", "one check is asked for");
        assert(input.token !== undefined, "the check includes the token");
        if (input.token.subject !== state.peer.id) return this.#refuse("wrong-subject");
        state.check = { step: "passed", token: input.token };
        return state.proofSent ? this.#satisfied(state) : NOTHING;
      case "rejected":
        return this.#refuse(input.reason);
      case "closed":
        return this.#over("channel", "closed");
      case "timeout":
        return now >= state.until ? this.#refuse("timeout") : NOTHING;
      default:
        return unreachable(input);
    }
  }

  #frame(state: Exclude<State, { type: "fresh" | "over" }>, frame: Uint8Array): readonly AdmissionOutput[] {
    const [kind] = frame;
    if (kind === undefined) return this.#refuse("malformed");
    if (rightOfFrame(kind) !== "anyone") return this.#refuse("frame-before-admission");
    switch (kind) {
      case FrameKind.refusal:
        return this.#over("remote", decodeRefusal(frame));
      case FrameKind.hello:
        return state.type === "greeting" ? this.#meet(state.until, frame) : this.#refuse("out-of-order");
      case FrameKind.proof:
        return state.type === "proving" && state.check.step === "awaited"
          ? this.#examine(state, frame)
          : this.#refuse("out-of-order");
      case FrameKind.ready:
        return this.#readied(state, frame);
      default:
        return this.#refuse("malformed");
    }
  }

  #readied(state: Exclude<State, { type: "fresh" | "over" }>, frame: Uint8Array): readonly AdmissionOutput[] {
    // The peer can only be satisfied with a proof that we have sent, and its own comes before that.
    if (state.type !== "proving" || !state.proofSent || state.check.step === "awaited" || state.peerReady) {
      return this.#refuse("out-of-order");
    }
    state.peerReady = parseReady(frame, state.resumes !== undefined);
    return state.peerReady ? this.#admitWhenBothAreReady(state) : this.#refuse("malformed");
  }

  /** Takes the peer's hello, fixes the transcript and asks for our signature. */
  #meet(until: Instant, frame: Uint8Array): readonly AdmissionOutput[] {
    const { self, expected, role, macKey } = this.#options;
    const parsed = frames.parseHello(frame, this.#versions);
    if (!parsed.ok) return this.#refuse(parsed.reason, parsed.reason === "version-mismatch");
    const { hello, version } = parsed;
    if (hello.id === self) return this.#refuse("self", true);
    if (expected !== undefined && hello.id !== expected) return this.#refuse("unexpected-peer", true);
    // Who was away while the key changed proves itself by the one before, as long as that is accepted; both sides do.
    const epoch = Math.min(hello.epoch, this.#options.epoch);
    const key = macKey(epoch);
    if (key === undefined) return this.#refuse("unknown-epoch", true);
    const transcript = this.#transcript(hello, frame);
    const ownBody = proofBody(role, transcript);
    const resumes = this.#resumable(hello);
    this.#state = {
      type: "proving",
      until,
      peer: { id: hello.id, boxKey: hello.boxKey, version, epoch },
      peerToken: hello.token,
      expectedBody: proofBody(otherRole(role), transcript),
      key,
      ownBody,
      check: { step: "awaited" },
      proofSent: false,
      sessionId: resumes?.id ?? sessionIdOf(transcript),
      resumes,
      ready: undefined,
      peerReady: undefined,
    };
    return [{ type: "sign", label: ADMISSION_LABEL, body: ownBody, resume: "admission" }];
  }

  /** Our session, if the peer holds the same, in the same run of its process. */
  #resumable(hello: frames.Hello): HeldSession | undefined {
    const { session } = this.#options;
    if (session === undefined || hello.session === undefined) return undefined;
    return equalBytes(session.id, hello.session) && equalBytes(session.boxKey, hello.boxKey) ? session : undefined;
  }

  #transcript(hello: frames.Hello, frame: Uint8Array): Uint8Array {
    const { clusterId, self, role, localFingerprint, remoteFingerprint } = this.#options;
    const ours = { identity: publicKeyOf(self), nonce: this.#nonce, hello: this.#hello, fingerprint: localFingerprint };
    const theirs = {
      identity: publicKeyOf(hello.id),
      nonce: hello.nonce,
      hello: frame,
      fingerprint: remoteFingerprint,
    };
    return role === "dialer" ? transcriptHash(clusterId, ours, theirs) : transcriptHash(clusterId, theirs, ours);
  }

  /** Checks the peer's MAC and hands signature and token to the driver. */
  #examine(state: Proving, frame: Uint8Array): readonly AdmissionOutput[] {
    const proof = frames.parseProof(frame);
    if (proof === undefined) return this.#refuse("malformed");
    if (!equalBytes(proof.mac, proofMac(state.key, state.expectedBody))) return this.#refuse("bad-mac");
    state.check = { step: "running" };
    const statement = {
      signer: state.peer.id,
      label: ADMISSION_LABEL,
      body: state.expectedBody,
      signature: proof.signature,
    } as const;
    return [
      { type: "verify", from: state.peer.id, statements: [statement], token: state.peerToken, resume: "admission" },
    ];
  }

  #prove(state: Proving, signature: Uint8Array): readonly AdmissionOutput[] {
    state.proofSent = true;
    const frame = frames.encodeProof({ signature, mac: proofMac(state.key, state.ownBody) });
    const sent: AdmissionOutput = { type: "send", frame };
    return state.check.step === "passed" ? [sent, ...this.#satisfied(state)] : [sent];
  }

  /** The peer's proof holds and ours is sent. */
  #satisfied(state: Proving): readonly AdmissionOutput[] {
    const { resumes } = state;
    state.ready = resumes === undefined ? NEW : resumes.progress();
    // It has ended since our hello: the next admission will begin another.
    if (state.ready === undefined) return this.#refuse("closed");
    const frame = resumes === undefined ? encodeReady() : encodeReady(state.ready);
    return [{ type: "send", frame }, ...this.#admitWhenBothAreReady(state)];
  }

  #admitWhenBothAreReady(state: Proving): readonly AdmissionOutput[] {
    const { check, ready, peerReady, sessionId: id } = state;
    if (ready === undefined || peerReady === undefined || check.step !== "passed") return NOTHING;
    this.#state = { type: "over" };
    const resumed = { received: peerReady.received, cut: ready.cut || peerReady.cut };
    const session = state.resumes === undefined ? { id } : { id, resumed };
    return [{ type: "admitted", peer: { ...state.peer, token: check.token }, session }];
  }

  /**
   * Ends the handshake on our side. The peer is told once it has said hello in a form that we can read: a silent or a
   * garbled channel gets no answer at all. After our own ready it may have admitted us, and would take the refusal for a frame of
   * the link: the channel just closes.
   */
  #refuse(reason: RefusalReason, readable = false): readonly AdmissionOutput[] {
    const told = readable || (this.#state.type === "proving" && this.#state.ready === undefined);
    const ended = this.#over("local", reason);
    return told ? [{ type: "send", frame: encodeRefusal(reason) }, ...ended] : ended;
  }

  #over(by: "local" | "remote" | "channel", reason: RefusalReason): readonly AdmissionOutput[] {
    this.#state = { type: "over" };
    return [{ type: "refused", by, reason }];
  }
}
