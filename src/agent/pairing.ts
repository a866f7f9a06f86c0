import { Runner } from "../host/runner.ts";
import { assert, unreachable } from "../proto/assert.ts";
import type { NegotiationInput, NegotiationOutput } from "../proto/negotiation/interface.ts";
import { Negotiation } from "../proto/negotiation/negotiation.ts";
import type { DialFailure, DialResult, RoundReport } from "../proto/negotiation/outcome.ts";
import type { DialPlan } from "../proto/negotiation/plan.ts";
import type { RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import type { Signal } from "../proto/negotiation/signal.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AdmissionInput, AdmissionOutput, AdmittedPeer } from "../proto/session/admission.ts";
import type { AdmittedSession, HeldSession } from "../proto/session/resumption.ts";
import type { Role } from "../proto/session/transcript.ts";
import { type AdmittingContext, type AdmittingOutput, admitting } from "./admitting.ts";

/** What a pairing needs of its agent. */
export interface PairingContext extends AdmittingContext {
  readonly self: PeerId;
  /** The plans for a dial that begins. */
  ladder(peer: PeerId): readonly DialPlan[];
  connect(plan: DialPlan, initiator: boolean, notify: (event: RtcEvent) => void): RtcConnection;
  sendSignal(peer: PeerId, signal: Signal): void;
  /** The session with `peer` that a channel may carry on. */
  session(peer: PeerId): HeldSession | undefined;
  /** A channel was admitted: it waits for whoever takes it. */
  linked(link: AdmittedChannel): void;
  /** An effort is over, one way or the other. */
  ended(peer: PeerId, result: DialResult, rounds: readonly RoundReport[]): void;
  /** An effort ended without a link. */
  failed(peer: PeerId, failure: DialFailure, wanted: boolean): void;
  fault(peer: PeerId, fault: string): void;
}

/** An open channel whose two ends have proved themselves to each other. */
export interface AdmittedChannel {
  readonly peer: AdmittedPeer;
  readonly session: AdmittedSession;
  readonly role: Role;
  readonly connection: RtcConnection;
  /** Sets who hears of the channel from here on; what came in between is replayed first. */
  take(notify: (event: RtcEvent) => void): void;
}

/** Pairs with one peer: carries out what {@link Negotiation} and {@link Admission} decide. */
export class Pairing {
  readonly peer: PeerId;
  readonly #context: PairingContext;
  readonly #negotiation: Negotiation;
  readonly #runner: Runner<NegotiationInput, NegotiationOutput>;
  readonly #channels = new Map<number, Channel>();

  constructor(peer: PeerId, context: PairingContext) {
    this.peer = peer;
    this.#context = context;
    this.#negotiation = new Negotiation({
      self: context.self,
      peer,
      random: context.random,
      ladder: () => context.ladder(peer),
    });
    this.#runner = new Runner(
      this.#negotiation,
      context.now,
      () => ({ type: "timeout" }),
      (output) => this.#perform(output),
    );
  }

  /** Whether an effort is under way; a pairing that is not may be forgotten. */
  get engaged(): boolean {
    return this.#negotiation.engaged;
  }

  dial(): void {
    this.#runner.input({ type: "dial" });
  }

  ask(): void {
    this.#runner.input({ type: "ask" });
  }

  signal(signal: Signal): void {
    this.#runner.input({ type: "signal", signal });
  }

  /** Ends the effort: `unreachable` when signals have no way, `closing` with the agent, `aborted` otherwise. */
  abort(reason: "aborted" | "unreachable" | "closing"): void {
    this.#runner.input({ type: "abort", reason });
  }

  close(): void {
    this.abort("closing");
    this.#runner.close();
    for (const attempt of [...this.#channels.keys()]) this.#discard(attempt);
  }

  #perform(output: NegotiationOutput): void {
    switch (output.type) {
      case "connect":
        this.#connect(output.attempt, output.initiator, output.plan);
        break;
      case "rtc":
        this.#command(output);
        break;
      case "signal":
        this.#context.sendSignal(this.peer, output.signal);
        break;
      case "discard":
        this.#discard(output.attempt);
        break;
      case "opened":
        this.#admit(output);
        break;
      case "outcome":
        this.#ended(output);
        break;
      case "ignored":
        break;
      case "fault":
        this.#context.fault(output.peer, output.fault);
        break;
      default:
        unreachable(output);
    }
  }

  #connect(attempt: number, initiator: boolean, plan: DialPlan): void {
    const channel = new Channel((event) => this.#runner.input({ type: "rtc", attempt, event }));
    this.#channels.set(attempt, channel);
    channel.connection = this.#context.connect(plan, initiator, (event) => channel.notify(event));
  }

  #command(output: Extract<NegotiationOutput, { type: "rtc" }>): void {
    const connection = this.#channels.get(output.attempt)?.connection;
    assert(connection !== undefined, "commands concern connections that were asked for");
    const { command } = output;
    switch (command.type) {
      case "offer":
        connection.offer();
        break;
      case "answer":
        connection.answer(command.offer);
        break;
      case "accept":
        connection.accept(command.answer);
        break;
      case "candidate":
        connection.candidate(command.candidate, command.mid);
        break;
    }
  }

  #discard(attempt: number): void {
    const channel = this.#channels.get(attempt);
    this.#channels.delete(attempt);
    channel?.close();
  }

  #admit(output: Extract<NegotiationOutput, { type: "opened" }>): void {
    const { attempt, role, localFingerprint, remoteFingerprint } = output;
    const channel = this.#channels.get(attempt);
    const connection = channel?.connection;
    assert(channel !== undefined && connection !== undefined, "a channel that opened was asked for");
    const session = this.#context.session(this.peer);
    const runner = admitting(
      this.#context,
      {
        role,
        expected: this.peer,
        localFingerprint,
        remoteFingerprint: connection.remoteFingerprint() ?? remoteFingerprint,
        ...(session && { session }),
      },
      (effect) => this.#performAdmission(attempt, channel, role, effect),
    );
    channel.beginAdmission(runner);
    runner.input({ type: "open" });
  }

  #performAdmission(attempt: number, channel: Channel, role: Role, output: AdmittingOutput): void {
    switch (output.type) {
      case "send":
        channel.connection?.send(output.frame);
        break;
      case "admitted":
        channel.admitted = { peer: output.peer, session: output.session, role };
        channel.hold();
        this.#runner.input({ type: "admitted", attempt });
        break;
      case "refused":
        this.#context.fault(this.peer, `admission-${output.reason}`);
        this.#runner.input({ type: "refused", attempt, by: output.by, reason: output.reason });
        break;
    }
  }

  #ended(output: Extract<NegotiationOutput, { type: "outcome" }>): void {
    const { result, wanted, rounds } = output;
    this.#context.ended(this.peer, result, rounds);
    if (!result.ok) {
      this.#context.failed(this.peer, result.failure, wanted);
      return;
    }
    const channel = this.#channels.get(result.attempt);
    this.#channels.delete(result.attempt);
    assert(channel?.admitted !== undefined && channel.connection !== undefined, "a dial succeeds by admission");
    const { connection } = channel;
    this.#context.linked({ ...channel.admitted, connection, take: (notify) => channel.release(notify) });
  }
}

/** How long a refused channel stays open for its last frame, ms: one round trip on a slow path. */
const REFUSAL_LINGER_MS = 500;

/** One connection on its way through negotiation and admission to a link: its events go to whoever is in charge. */
class Channel {
  connection: RtcConnection | undefined;
  admitted: Pick<AdmittedChannel, "peer" | "session" | "role"> | undefined;
  #listener: (event: RtcEvent) => void;
  #admission: Runner<AdmissionInput, AdmissionOutput> | undefined;
  #held: RtcEvent[] | undefined;

  constructor(listener: (event: RtcEvent) => void) {
    this.#listener = listener;
  }

  notify(event: RtcEvent): void {
    if (this.#held) this.#held.push(event);
    else this.#listener(event);
  }

  /** Frames go to admission; what happens to the connection goes to negotiation too. */
  beginAdmission(runner: Runner<AdmissionInput, AdmissionOutput>): void {
    this.#admission = runner;
    const negotiation = this.#listener;
    this.#listener = (event) => {
      if (event.type === "frame") runner.input({ type: "frame", bytes: event.bytes });
      else {
        if (event.type === "closed") runner.input({ type: "closed" });
        negotiation(event);
      }
    };
  }

  /** The peer may speak as a link before our side has a link to listen: keep what it says. */
  hold(): void {
    this.#admission?.close();
    this.#held = [];
  }

  release(listener: (event: RtcEvent) => void): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    this.#listener = listener;
    for (const event of held) listener(event);
  }

  /** Ends the connection; a channel that got as far as admission may still have a refusal to deliver. */
  close(): void {
    this.#listener = () => undefined;
    this.#held = undefined;
    const { connection } = this;
    if (!this.#admission) connection?.close();
    else {
      this.#admission.close();
      setTimeout(() => connection?.close(), REFUSAL_LINGER_MS);
    }
  }
}
