import { assert, unreachable } from "../assert.ts";
import { Deadlines } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { RefusalReason } from "../session/refusal.ts";
import type { Role } from "../session/transcript.ts";
import type { DialFailure, FailureReason, Ignored, NegotiationFault, RoundReport } from "./outcome.ts";
import { type DialPlan, RUNGS, STAGE_LIMITS, type Stage, type StageLimits } from "./plan.ts";
import type { RtcEvent } from "./rtc.ts";
import { type Candidate, describeCandidate, isCandidate, parseSdp } from "./sdp.ts";
import { type SignalBody, signalLimits } from "./signal.ts";

/**
 * One connection from the order to connect to an admitted peer, or to a failure that names its stage.
 *
 * The dialer's round goes offer, answer, ICE, DTLS, channel, admission; the answerer's begins with the offer in hand. Each
 * stage has its own limit, since stacks hang in each of them in their own way and do not tell. A stack that skips an event
 * (not every one tells DTLS from the channel) moves several stages at once. Candidates trickle: remote ones wait here for
 * the description that they need, local ones for the description that must go first and then a moment for company.
 *
 * Where UDP is blocked nothing tells either: there the silence of every STUN and TURN server is the sign, since a server that is
 * reached answers with a candidate. It ends the round early, so that one over TCP can begin.
 *
 * It knows nothing of dials, glare or other rounds: `negotiation.ts` makes one of these for every connection and lifts
 * what it says into signals.
 */

/** Bounds of one connection. */
export const attemptLimits = {
  /** Candidates of each side: several interfaces, two address families, STUN and TURN for each. */
  candidates: 64,
  /** How long a local candidate waits for others to share its signal, ms: below what a person or ICE notices. */
  batchMs: 20,
  /** Candidates of each side that a report names. */
  described: 16,
};

/** What the stack is told to do; one method of `RtcConnection` each. */
export type RtcCommand =
  | { readonly type: "offer" }
  | { readonly type: "answer"; readonly offer: string }
  | { readonly type: "accept"; readonly answer: string }
  | { readonly type: "candidate"; readonly candidate: string; readonly mid: string };

/** A peer's description that has passed the gate of `sdp.ts`. */
export interface RemoteDescription {
  readonly sdp: string;
  readonly fingerprint: Uint8Array;
}

export type AttemptInput =
  | { readonly type: "begin" }
  /** The peer's answer; dialer only. */
  | { readonly type: "answer"; readonly sdp: string }
  | { readonly type: "candidates"; readonly candidates: readonly Candidate[] }
  | { readonly type: "rtc"; readonly event: RtcEvent }
  | { readonly type: "admitted" }
  | { readonly type: "refused"; readonly by: "local" | "remote" | "channel"; readonly reason: RefusalReason }
  | { readonly type: "timeout" };

export type AttemptOutput =
  | { readonly type: "command"; readonly command: RtcCommand }
  | { readonly type: "say"; readonly body: SignalBody }
  | { readonly type: "opened"; readonly localFingerprint: Uint8Array; readonly remoteFingerprint: Uint8Array }
  | { readonly type: "succeeded" }
  /** The end; `retry`: a fresh connection may do better. */
  | { readonly type: "failed"; readonly failure: DialFailure; readonly retry: boolean }
  | { readonly type: "ignored"; readonly why: Ignored }
  | { readonly type: "fault"; readonly fault: NegotiationFault };

/** Which descriptions are known; fingerprints stay what they are for the connection's life. */
type Descriptions =
  | { readonly have: "none" }
  | { readonly have: "local"; readonly local: Uint8Array }
  | { readonly have: "remote"; readonly remote: RemoteDescription }
  | { readonly have: "both"; readonly local: Uint8Array; readonly remote: RemoteDescription };

const ORDER: readonly Stage[] = ["signaling", "ice", "dtls", "channel", "admission"];

export class Attempt implements Machine<AttemptInput, AttemptOutput> {
  readonly role: Role;
  readonly round: number;
  readonly plan: DialPlan;
  readonly #since: Instant;
  readonly #limits: StageLimits;
  readonly #deadlines = new Deadlines<"stage" | "udp" | "batch">();
  #stage: Stage = "signaling";
  #over = false;
  #descriptions: Descriptions;
  /** Remote candidates that wait for the answer. */
  #held: Candidate[] = [];
  #remoteCandidates = 0;
  /** Local candidates that wait for company. */
  #batch: Candidate[] = [];
  #localCandidates = 0;
  /** A server has told us an address of ours: UDP passes. */
  #hasAnswer = false;
  readonly #offered = { local: [] as string[], remote: [] as string[] };

  /** @param offer the peer's; makes this side the answerer. */
  constructor(round: number, plan: DialPlan, now: Instant, offer?: RemoteDescription) {
    this.role = offer === undefined ? "dialer" : "answerer";
    this.round = round;
    this.plan = plan;
    this.#since = now;
    this.#limits = { ...STAGE_LIMITS, ...plan.stageLimits };
    this.#descriptions = offer === undefined ? { have: "none" } : { have: "remote", remote: offer };
  }

  /** Where the connection stands; the last stage that it reached once it is over. */
  get stage(): Stage {
    return this.#stage;
  }

  /** What it came to. */
  report(now: Instant, failure?: DialFailure): RoundReport {
    const { role, plan } = this;
    const facts = { role, rung: plan.rung, tookMs: now - this.#since, ...this.#offered };
    return failure === undefined ? facts : { ...facts, failure };
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  handle(input: AttemptInput, now: Instant): readonly AttemptOutput[] {
    if (this.#over) return NOTHING;
    switch (input.type) {
      case "begin":
        this.#deadlines.set("stage", now + this.#limits.signaling);
        return [{ type: "command", command: this.#firstCommand() }];
      case "answer":
        return this.#answered(input.sdp, now);
      case "candidates":
        return this.#takeCandidates(input.candidates);
      case "rtc":
        return this.#event(input.event, now);
      case "admitted":
        assert(this.#stage === "admission", "only an open channel is admitted");
        this.#end();
        return [{ type: "succeeded" }];
      case "refused": {
        assert(this.#stage === "admission", "only an open channel is refused");
        // A broken channel or a slow peer may do better the next time; who was refused for cause will not.
        const retry = input.reason === "closed" || input.reason === "timeout";
        this.#end();
        return [{ type: "failed", failure: { stage: "admission", reason: input.reason, by: input.by }, retry }];
      }
      case "timeout":
        return this.#timeout(now);
      default:
        return unreachable(input);
    }
  }

  #firstCommand(): RtcCommand {
    const { have } = this.#descriptions;
    return have === "remote" ? { type: "answer", offer: this.#descriptions.remote.sdp } : { type: "offer" };
  }

  #event(event: RtcEvent, now: Instant): readonly AttemptOutput[] {
    switch (event.type) {
      case "description":
        return this.#described(event.sdp, now);
      case "candidate":
        return this.#gathered(event.candidate, event.mid, now);
      case "ice-connected":
        this.#reach("dtls", now);
        return NOTHING;
      case "dtls-connected":
        this.#reach("channel", now);
        return NOTHING;
      case "open":
        return this.#opened(now);
      case "closed":
        return this.#fail("closed", true);
      case "frame":
      case "drained":
        return NOTHING;
      default:
        return unreachable(event);
    }
  }

  /** Our own description: its fingerprint is what we prove, so it passes the same gate as the peer's. */
  #described(sdp: string, now: Instant): readonly AttemptOutput[] {
    const known = this.#descriptions;
    if (known.have === "local" || known.have === "both") return NOTHING;
    const parsed = parseSdp(sdp);
    if (!parsed.ok) return this.#fail("bad-local-description", false);
    const local = parsed.fingerprint;
    if (this.#batch.length > 0) this.#deadlines.set("batch", now + attemptLimits.batchMs);
    if (known.have === "none") {
      this.#descriptions = { have: "local", local };
      return [{ type: "say", body: { kind: "offer", round: this.round, rung: RUNGS.indexOf(this.plan.rung), sdp } }];
    }
    this.#descriptions = { have: "both", local, remote: known.remote };
    this.#reach("ice", now);
    return [{ type: "say", body: { kind: "answer", round: this.round, sdp } }];
  }

  #answered(sdp: string, now: Instant): readonly AttemptOutput[] {
    const known = this.#descriptions;
    if (known.have === "both") {
      return known.remote.sdp === sdp
        ? [{ type: "ignored", why: "duplicate" }]
        : [{ type: "fault", fault: "description-changed" }];
    }
    // Nobody can answer an offer that has not been made.
    if (known.have !== "local") return [{ type: "fault", fault: "wrong-role" }];
    const parsed = parseSdp(sdp);
    if (!parsed.ok) return [{ type: "fault", fault: parsed.fault }, ...this.#fail("bad-description", false)];
    this.#descriptions = { have: "both", local: known.local, remote: { sdp, fingerprint: parsed.fingerprint } };
    this.#reach("ice", now);
    const outputs: AttemptOutput[] = [{ type: "command", command: { type: "accept", answer: sdp } }];
    for (const held of this.#held) outputs.push({ type: "command", command: { type: "candidate", ...held } });
    this.#held = [];
    return outputs;
  }

  #takeCandidates(candidates: readonly Candidate[]): readonly AttemptOutput[] {
    if (this.#stage === "admission") return NOTHING;
    const { have } = this.#descriptions;
    const outputs: AttemptOutput[] = [];
    for (const { candidate, mid } of candidates) {
      if (++this.#remoteCandidates > attemptLimits.candidates) return [...outputs, { type: "ignored", why: "surplus" }];
      describe(this.#offered.remote, candidate);
      if (have === "both" || have === "remote") {
        outputs.push({ type: "command", command: { type: "candidate", candidate, mid } });
      } else this.#held.push({ candidate, mid });
    }
    return outputs;
  }

  /** A candidate of ours: joins the next batch, which never goes before the description. */
  #gathered(candidate: string, mid: string, now: Instant): readonly AttemptOutput[] {
    if (this.#stage === "admission" || !isCandidate(candidate, mid)) return NOTHING;
    if (++this.#localCandidates > attemptLimits.candidates) return NOTHING;
    this.#batch.push({ candidate, mid });
    describe(this.#offered.local, candidate);
    if (!/ typ host(?: |$)/.test(candidate)) this.#reached();
    const { have } = this.#descriptions;
    if (have !== "local" && have !== "both") return NOTHING;
    if (this.#batch.length >= signalLimits.candidates) return this.#flush();
    if (this.#deadlines.at("batch") === undefined) this.#deadlines.set("batch", now + attemptLimits.batchMs);
    return NOTHING;
  }

  /** UDP passes: a server has answered, or a path was found. */
  #reached(): void {
    this.#hasAnswer = true;
    this.#deadlines.clear("udp");
  }

  #flush(): readonly AttemptOutput[] {
    this.#deadlines.clear("batch");
    const outputs: AttemptOutput[] = [];
    while (this.#batch.length > 0) {
      const candidates = this.#batch.splice(0, signalLimits.candidates);
      outputs.push({ type: "say", body: { kind: "candidates", round: this.round, candidates } });
    }
    return outputs;
  }

  #opened(now: Instant): readonly AttemptOutput[] {
    const known = this.#descriptions;
    // A channel without two descriptions is a broken stack; nothing could be proven on it.
    if (known.have !== "both") return this.#fail("closed", true);
    if (this.#stage === "admission") return NOTHING;
    this.#reach("admission", now);
    this.#deadlines.clear("batch");
    return [{ type: "opened", localFingerprint: known.local, remoteFingerprint: known.remote.fingerprint }];
  }

  /** Moves on to `stage` and its limit; never back. */
  #reach(stage: Stage, now: Instant): void {
    if (ORDER.indexOf(stage) <= ORDER.indexOf(this.#stage)) return;
    this.#stage = stage;
    this.#deadlines.set("stage", now + this.#limits[stage]);
    const { udpWithinMs } = this.plan;
    if (stage !== "ice") this.#reached();
    else if (udpWithinMs !== undefined && !this.#hasAnswer) this.#deadlines.set("udp", now + udpWithinMs);
  }

  #timeout(now: Instant): readonly AttemptOutput[] {
    const stage = this.#deadlines.at("stage");
    // A round that has failed has nothing more to say, so this comes first.
    if (stage !== undefined && stage <= now) return this.#fail("timeout", true);
    const udp = this.#deadlines.at("udp");
    if (udp !== undefined && udp <= now) return this.#fail("no-udp", true);
    const batch = this.#deadlines.at("batch");
    return batch !== undefined && batch <= now ? this.#flush() : NOTHING;
  }

  #fail(reason: FailureReason, retry: boolean): readonly AttemptOutput[] {
    this.#end();
    return [{ type: "failed", failure: { stage: this.#stage, reason }, retry }];
  }

  #end(): void {
    this.#over = true;
    this.#deadlines.clear("stage");
    this.#deadlines.clear("udp");
    this.#deadlines.clear("batch");
  }
}

function describe(list: string[], candidate: string): void {
  if (list.length < attemptLimits.described) list.push(describeCandidate(candidate));
}
