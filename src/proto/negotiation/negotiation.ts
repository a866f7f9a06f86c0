import { assert, unreachable } from "../assert.ts";
import { Deadlines, earlier } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import { randomBytes } from "../random.ts";
import { Attempt, type AttemptInput, type RemoteDescription } from "./attempt.ts";
import { DialMemory, type DialRecord } from "./dial-memory.ts";
import { isUnderWay, judgeAsk, judgeCandidates, judgeOffer } from "./glare.ts";
import type { NegotiationInput, NegotiationOptions, NegotiationOutput } from "./interface.ts";
import { Climb } from "./ladder.ts";
import type { AbortReason, DialFailure, Ignored, NegotiationFault } from "./outcome.ts";
import { isUdpBlocked, rejectionFor } from "./outcome.ts";
import * as plans from "./plan.ts";
import { parseSdp } from "./sdp.ts";
import { isRoundOnly, type RejectReason, type Signal, type SignalBody, type SignalOf, signalLimits } from "./signal.ts";
import type { Connecting, Effort, Slot, State } from "./state.ts";
import { failureOf, isConnecting, outcomeOf, report } from "./state.ts";

/**
 * Pairing with one peer: from the wish for a link to an admitted channel, or to one failure that says where it ended.
 *
 * An *effort* begins with a `dial`, an `ask`, or with the peer's, and ends with exactly one outcome; further wishes join it.
 * The side that dials offers, under a dial id of its own (or of the asker), and drives the rounds: whatever fails in a way
 * that a fresh connection may cure is tried again after a jittered pause, on a ladder of plans (`ladder.ts`). The offer
 * names its rung, and the answerer follows; it makes one connection per offer, says when its side has failed, and waits a
 * while for the next offer.
 *
 * Glare, as in "perfect negotiation" of the WebRTC specification: when both have offered, the lower PeerId (which is the one
 * that usually dials) ignores the other's offer, and the higher drops its own and answers. Beyond that, the newest word of
 * the peer counts: an offer or an ask for another dial means that its sender has given up the one before. Signals may be
 * lost, repeated and reordered; their times (strictly increasing per sender) tell a late opening from a new one, and dials
 * that are over stay over. A round that reached the channel may have linked at the other end, so the next one goes
 * under a fresh dial id: one dial links once.
 *
 * It owns no WebRTC and checks no signature: signals come opened and verified, and admission says who is at the other end.
 */
export class Negotiation implements Machine<NegotiationInput, NegotiationOutput> {
  readonly #options: NegotiationOptions;
  readonly #ladder: () => readonly plans.DialPlan[];
  readonly #limits: plans.PairingLimits;
  readonly #memory: DialMemory;
  readonly #deadlines = new Deadlines<Slot>();
  /** Our PeerId is the lower one: we usually dial, and our offer prevails. */
  readonly #lower: boolean;
  #state: State = { type: "idle" };
  #attempts = 0;

  constructor(options: NegotiationOptions) {
    assert(options.self !== options.peer, "nobody pairs with itself");
    this.#options = options;
    this.#lower = options.self < options.peer;
    this.#ladder = options.ladder ?? (() => plans.DEFAULT_LADDER);
    this.#limits = { ...plans.PAIRING_LIMITS, ...options.limits };
    this.#memory = new DialMemory(this.#limits.lateWindowMs);
  }

  /** Whether an effort is under way. */
  get engaged(): boolean {
    return this.#state.type !== "idle";
  }

  deadline(): Instant | undefined {
    const state = this.#state;
    const own = this.#deadlines.next();
    return isConnecting(state) ? earlier(own, state.attempt.deadline()) : own;
  }

  handle(input: NegotiationInput, now: Instant): readonly NegotiationOutput[] {
    switch (input.type) {
      case "dial":
        return this.#dial(input.ladder ?? this.#ladder(), now);
      case "ask":
        return this.#ask(now);
      case "signal":
        return this.#signal(input.signal, now);
      case "rtc":
      case "admitted":
      case "refused":
        return this.#feed(input.attempt, input, now);
      case "abort":
        return this.#abort(input.reason, now);
      case "timeout":
        return this.#timeout(now);
      default:
        return unreachable(input);
    }
  }

  #dial(ladder: readonly plans.DialPlan[], now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    const effort = state.type === "idle" ? this.#begin(true, ladder, now) : state.effort;
    effort.wanted = true;
    // The offer that was asked for may still come: glare then decides.
    if (state.type !== "idle" && state.type !== "asking") return NOTHING;
    effort.climb = new Climb(ladder, this.#limits.roundsPerRung);
    return this.#call(effort, this.#freshDial(), 1, now);
  }

  #ask(now: Instant): readonly NegotiationOutput[] {
    if (this.#state.type !== "idle") {
      this.#state.effort.wanted = true;
      return NOTHING;
    }
    const dial = this.#freshDial();
    this.#enter({ type: "asking", effort: this.#begin(true, this.#ladder(), now), dial, round: 0 });
    this.#deadlines.set("patience", now + this.#limits.askMs);
    this.#deadlines.set("ask", now + this.#limits.askEveryMs);
    return this.#say(dial, { kind: "ask" }, now);
  }

  #abort(reason: AbortReason, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    if (state.type === "idle") return NOTHING;
    const stage = isConnecting(state) ? state.attempt.stage : "signaling";
    if (reason !== "unreachable") return this.#finish({ stage, reason }, "aborted", now);
    return stage === "signaling" ? this.#finish({ stage, reason }, undefined, now) : NOTHING;
  }

  #signal(signal: Signal, now: Instant): readonly NegotiationOutput[] {
    if (signal.sequence >= signalLimits.sequence) return this.#fault("too-many-signals");
    const record = this.#memory.of(signal.dial);
    if (!record.see(signal.sequence)) return this.#pass("duplicate");
    const late = this.#memory.hear(signal, now);
    if (record.ended !== "no") return this.#overdue(signal, record, now);
    switch (signal.kind) {
      case "offer":
        return this.#offered(signal, late, now);
      case "answer":
        return this.#answered(signal, now);
      case "candidates":
        return this.#candidates(signal, now);
      case "ask":
        return this.#asked(signal, late, now);
      case "reject":
        return this.#rejected(signal, record, now);
      default:
        return unreachable(signal);
    }
  }

  /** A signal of a dial that is over: whoever still waits for something in it is told once. */
  #overdue(signal: Signal, record: DialRecord, now: Instant): readonly NegotiationOutput[] {
    const waits = signal.kind === "offer" || signal.kind === "answer" || signal.kind === "ask";
    if (record.ended !== "failed" || !waits) return this.#pass("late-dial");
    record.ended = "told";
    const round = signal.kind === "ask" ? 0 : signal.round;
    return [...this.#pass("late-dial"), ...this.#say(signal.dial, { kind: "reject", round, reason: "gave-up" }, now)];
  }

  #offered(offer: SignalOf<"offer">, late: boolean, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    const verdict = judgeOffer(state, offer, late, this.#lower);
    if (verdict !== "take") return this.#pass(verdict);
    if (state.type !== "idle" && state.effort.answers >= this.#limits.answersPerEffort) return this.#pass("surplus");
    const parsed = parseSdp(offer.sdp);
    if (parsed.ok) return [...this.#dropCurrent(offer.dial), ...this.#answer(offer, parsed.fingerprint, now)];
    const blamed = this.#fault(parsed.fault);
    if (isUnderWay(state, offer.dial)) {
      const failure: DialFailure = { stage: "signaling", reason: "bad-description" };
      return [...blamed, ...this.#finish(failure, "bad-description", now)];
    }
    this.#memory.of(offer.dial).ended = "failed";
    const body = { kind: "reject", round: offer.round, reason: "bad-description" } as const;
    return [...blamed, ...this.#say(offer.dial, body, now)];
  }

  #answered(answer: SignalOf<"answer">, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    if (state.type === "idle" || !isUnderWay(state, answer.dial)) return this.#pass("foreign-dial");
    if (state.type !== "calling" && state.type !== "pausing") return this.#pass("wrong-role");
    if (state.type === "pausing" || answer.round !== state.round) return this.#pass("stale-round");
    return this.#advance(state, { type: "answer", sdp: answer.sdp }, now);
  }

  #candidates(signal: SignalOf<"candidates">, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    const verdict = judgeCandidates(state, signal);
    if (verdict === "stale-round") return this.#pass(verdict);
    if (verdict === "feed" && isConnecting(state)) {
      return this.#advance(state, { type: "candidates", candidates: signal.candidates }, now);
    }
    return this.#memory.hold(signal.dial, signal.round, signal.candidates) ? NOTHING : this.#pass("surplus");
  }

  #asked(ask: SignalOf<"ask">, late: boolean, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    const verdict = judgeAsk(state, ask, late, this.#lower);
    if (verdict !== "take") return this.#pass(verdict);
    const effort = state.type === "idle" ? this.#begin(false, this.#ladder(), now) : state.effort;
    return [...this.#dropCurrent(ask.dial), ...this.#call(effort, ask.dial, 1, now)];
  }

  #rejected(reject: SignalOf<"reject">, record: DialRecord, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    if (state.type === "idle" || !isUnderWay(state, reject.dial)) {
      if (!isRoundOnly(reject.reason)) record.ended = "told";
      return this.#pass("foreign-dial");
    }
    const failure = failureOf(state, `peer-${reject.reason}`);
    if (isRoundOnly(reject.reason)) {
      if (state.type !== "calling" || reject.round !== state.round) return this.#pass("stale-round");
      return this.#failed(state, failure, true, now);
    }
    record.ended = "told";
    return this.#finish(failure, undefined, now);
  }

  #feed(attempt: number, input: AttemptInput, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    return isConnecting(state) && state.id === attempt ? this.#advance(state, input, now) : NOTHING;
  }

  /** Feeds the connection and lifts what it says. */
  #advance(state: Connecting, input: AttemptInput, now: Instant): readonly NegotiationOutput[] {
    const { id, attempt } = state;
    const outputs: NegotiationOutput[] = [];
    for (const output of attempt.handle(input, now)) {
      switch (output.type) {
        case "command":
          outputs.push({ type: "rtc", attempt: id, command: output.command });
          break;
        case "say":
          outputs.push(...this.#say(state.dial, output.body, now));
          break;
        case "opened":
          outputs.push({ ...output, attempt: id, role: attempt.role });
          break;
        case "succeeded":
          outputs.push(...this.#linked(state, now));
          break;
        case "failed":
          outputs.push(...this.#failed(state, output.failure, output.retry, now));
          break;
        case "ignored":
          outputs.push(output);
          break;
        case "fault":
          outputs.push(...this.#fault(output.fault));
          break;
        default:
          unreachable(output);
      }
    }
    return outputs;
  }

  #failed(state: Connecting, failure: DialFailure, retry: boolean, now: Instant): readonly NegotiationOutput[] {
    if (!retry) return this.#finish(failure, rejectionFor(failure), now);
    const { effort, dial, round } = state;
    const discard = { type: "discard", attempt: state.id } as const;
    const goesOn = state.type === "answering" || effort.climb.advance(failure, round + 1);
    if (!goesOn) return this.#finish(failure, "gave-up", now);
    report(state, now, failure);
    if (state.type === "answering") {
      this.#enter({ type: "awaiting", effort, dial, round, failure });
      this.#deadlines.set("patience", now + this.#limits.patienceMs);
      const reason = failure.reason === "no-udp" ? "no-udp" : "failed";
      return [discard, ...this.#say(dial, { kind: "reject", round, reason }, now)];
    }
    // The other end of an open channel may have linked already, and one dial links once.
    const used = failure.stage === "admission";
    if (used) this.#memory.of(dial).ended = "failed";
    this.#enter({ type: "pausing", effort, dial: used ? this.#freshDial() : dial, round: round + 1, failure });
    // Neither side has anything to wait for when UDP is blocked.
    const pauseMs = isUdpBlocked(failure) ? 0 : plans.pauseBefore(round + 1, this.#limits, this.#options.random);
    this.#deadlines.set("pause", now + pauseMs);
    return [discard];
  }

  #linked(state: Connecting, now: Instant): readonly NegotiationOutput[] {
    this.#memory.of(state.dial).ended = "linked";
    report(state, now);
    this.#rest();
    const { role, plan } = state.attempt;
    return [outcomeOf(state, { ok: true, attempt: state.id, role, rung: plan.rung })];
  }

  /** Ends the effort without a link; `tell` is what the peer is told. */
  #finish(failure: DialFailure, tell: RejectReason | undefined, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    assert(state.type !== "idle", "only an effort ends");
    const outputs: NegotiationOutput[] = [];
    if (isConnecting(state)) {
      report(state, now, failure);
      outputs.push({ type: "discard", attempt: state.id });
    }
    if (tell !== undefined) {
      outputs.push(...this.#say(state.dial, { kind: "reject", round: state.round, reason: tell }, now));
    }
    const record = this.#memory.of(state.dial);
    if (record.ended === "no") record.ended = "failed";
    this.#rest();
    return [...outputs, outcomeOf(state, { ok: false, failure })];
  }

  #begin(wanted: boolean, ladder: readonly plans.DialPlan[], now: Instant): Effort {
    this.#deadlines.set("effort", now + this.#limits.effortMs);
    return { wanted, climb: new Climb(ladder, this.#limits.roundsPerRung), answers: 0, rounds: [] };
  }

  #enter(state: State): void {
    this.#deadlines.clear("pause");
    this.#deadlines.clear("patience");
    this.#deadlines.clear("ask");
    this.#state = state;
  }

  #rest(): void {
    this.#enter({ type: "idle" });
    this.#deadlines.clear("effort");
  }

  #call(effort: Effort, dial: Uint8Array, round: number, now: Instant): readonly NegotiationOutput[] {
    return this.#connect({ effort, dial, round }, effort.climb.plan, undefined, now);
  }

  #answer(offer: SignalOf<"offer">, fingerprint: Uint8Array, now: Instant): readonly NegotiationOutput[] {
    const { dial, round } = offer;
    const ladder = this.#ladder();
    const effort = this.#state.type === "idle" ? this.#begin(false, ladder, now) : this.#state.effort;
    effort.answers++;
    const plan = plans.planOf(ladder, offer.rung);
    const outputs = this.#connect({ effort, dial, round }, plan, { sdp: offer.sdp, fingerprint }, now);
    const early = this.#memory.release(dial, round);
    if (early.length === 0 || !isConnecting(this.#state)) return outputs;
    return [...outputs, ...this.#advance(this.#state, { type: "candidates", candidates: early }, now)];
  }

  /** Makes the connection of one round; whatever was before it is over. */
  #connect(
    what: { readonly effort: Effort; readonly dial: Uint8Array; readonly round: number },
    plan: plans.DialPlan,
    offer: RemoteDescription | undefined,
    now: Instant,
  ): readonly NegotiationOutput[] {
    const attempt = new Attempt(what.round, plan, now, offer);
    const initiator = offer === undefined;
    const state = { ...what, type: initiator ? "calling" : "answering", id: ++this.#attempts, attempt } as const;
    this.#enter(state);
    return [{ type: "connect", attempt: state.id, initiator, plan }, ...this.#advance(state, { type: "begin" }, now)];
  }

  /** Makes way for `dial`: the connection goes, and so does the dial under way unless it is the same. */
  #dropCurrent(dial: Uint8Array): readonly NegotiationOutput[] {
    const state = this.#state;
    if (state.type === "idle") return NOTHING;
    if (!isUnderWay(state, dial)) this.#memory.of(state.dial).ended = "failed";
    return isConnecting(state) ? [{ type: "discard", attempt: state.id }] : NOTHING;
  }

  #timeout(now: Instant): readonly NegotiationOutput[] {
    const outputs: NegotiationOutput[] = [];
    for (let due = this.#deadlines.take(now); due !== undefined; due = this.#deadlines.take(now)) {
      outputs.push(...this.#due(due, now));
    }
    const state = this.#state;
    const deadline = isConnecting(state) ? state.attempt.deadline() : undefined;
    if (isConnecting(state) && deadline !== undefined && deadline <= now) {
      outputs.push(...this.#advance(state, { type: "timeout" }, now));
    }
    return outputs;
  }

  #due(slot: Slot, now: Instant): readonly NegotiationOutput[] {
    const state = this.#state;
    if (state.type === "idle") return NOTHING;
    switch (slot) {
      case "effort":
      case "patience":
        return this.#finish(failureOf(state, "timeout"), "gave-up", now);
      case "pause":
        return this.#call(state.effort, state.dial, state.round, now);
      case "ask":
        this.#deadlines.set("ask", now + this.#limits.askEveryMs);
        return this.#say(state.dial, { kind: "ask" }, now);
      default:
        return unreachable(slot);
    }
  }

  #freshDial(): Uint8Array {
    return randomBytes(this.#options.random, 16);
  }

  #say(dial: Uint8Array, body: SignalBody, now: Instant): readonly NegotiationOutput[] {
    const signal = this.#memory.stamp(dial, body, now);
    return signal === undefined ? NOTHING : [{ type: "signal", signal }];
  }

  #fault(fault: NegotiationFault): readonly NegotiationOutput[] {
    return [{ type: "fault", peer: this.#options.peer, fault }];
  }

  /** Passes over a signal: a fault if no honest peer sends it, noise otherwise. */
  #pass(verdict: "wrong-role" | Ignored): readonly NegotiationOutput[] {
    return verdict === "wrong-role" ? this.#fault(verdict) : [{ type: "ignored", why: verdict }];
  }
}
