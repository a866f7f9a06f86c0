/**
 * Two negotiation machines, a path for their signals and a scripted WebRTC, all in memory. Everything that happens later is
 * a task with an instant; delays, losses and failures are the test's choice ({@link Fate}).
 *
 * The world checks by itself what must hold in every run: a connection ends once and is told nothing afterwards, an
 * effort has one outcome, signals survive their encoding, and both sides report the same links.
 */
import { equalBytes, hex } from "../../../src/proto/bytes.ts";
import type { NegotiationInput, NegotiationOutput } from "../../../src/proto/negotiation/interface.ts";
import { Negotiation } from "../../../src/proto/negotiation/negotiation.ts";
import type { DialFailure } from "../../../src/proto/negotiation/outcome.ts";
import type { RtcEvent } from "../../../src/proto/negotiation/rtc.ts";
import { parseSdp } from "../../../src/proto/negotiation/sdp.ts";
import { decodeSignalBody, encodeSignalBody, type Signal } from "../../../src/proto/negotiation/signal.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { candidateOf, HIGH, LOW, sdpOf } from "./fixture.ts";

export type Side = "low" | "high";
export const other = (side: Side): Side => (side === "low" ? "high" : "low");

/** What the surroundings do. */
export interface Fate {
  /** When the copies of a signal arrive, ms from now; empty when it is lost. */
  readonly signal: (from: Side, signal: Signal) => readonly number[];
  /** How long a step of the stack takes, ms. */
  readonly step: () => number;
  /** How far a pair of connections gets. */
  readonly reaches: () => "nothing" | "ice" | "dtls" | "open";
  /** Whether the other end of a closed connection hears of it. */
  readonly noticesClose: () => boolean;
  /**
   * Takes over from time: chooses which of `count` signals and deeds comes next, before any deadline. The stack's steps come
   * before them.
   */
  readonly choose?: (count: number) => number;
}

interface Connection {
  readonly side: Side;
  readonly attempt: number;
  readonly initiator: boolean;
  readonly certificate: number;
  /** The certificate that it believes the other end to have. */
  remote?: Uint8Array;
  opened: boolean;
  state: "live" | "linked" | "gone";
}

interface Task {
  readonly at: number;
  readonly order: number;
  /** A step of the stack, as against a signal or a deed. */
  readonly stack: boolean;
  readonly run: () => void;
}

export interface Outcome {
  readonly side: Side;
  readonly dial: string;
  readonly wanted: boolean;
  readonly at: number;
  readonly failure?: DialFailure;
}

function must(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

export class World {
  now = 1_000_000;
  readonly outcomes: Outcome[] = [];
  readonly efforts = { low: 0, high: 0 };
  readonly #fate: Fate;
  readonly #machines: Record<Side, Negotiation>;
  readonly #connections: Connection[] = [];
  readonly #tasks: Task[] = [];
  #order = 0;

  constructor(fate: Fate, seed = 1) {
    this.#fate = fate;
    const random = new SeededRandom(seed);
    this.#machines = {
      low: new Negotiation({ self: LOW, peer: HIGH, random: random.fork("low") }),
      high: new Negotiation({ self: HIGH, peer: LOW, random: random.fork("high") }),
    };
  }

  /** Does `run` after `delayMs`. */
  later(delayMs: number, run: () => void): void {
    this.#tasks.push({ at: this.now + delayMs, order: this.#order++, stack: false, run });
  }

  #stack(delayMs: number, run: () => void): void {
    this.#tasks.push({ at: this.now + delayMs, order: this.#order++, stack: true, run });
  }

  input(side: Side, input: NegotiationInput): void {
    const machine = this.#machines[side];
    const before = machine.engaged;
    const outputs = machine.handle(input, this.now);
    const ended = outputs.filter((output) => output.type === "outcome").length;
    // An effort begins when a machine is engaged that was not, or that has just ended one.
    const begun = (machine.engaged ? 1 : 0) + ended - (before ? 1 : 0);
    must(begun === 0 || begun === 1, `one input began ${begun} efforts`);
    this.efforts[side] += begun;
    for (const output of outputs) this.#perform(side, output);
  }

  /** Runs until nothing is left to do. */
  run(): void {
    for (let turn = 0; turn < 20_000; turn++) {
      const task = this.#nextTask();
      const deadlines = (["low", "high"] as const).map((side) => [side, this.#machines[side].deadline()] as const);
      const [side, deadline] = deadlines.reduce((a, b) => ((b[1] ?? Infinity) < (a[1] ?? Infinity) ? b : a));
      if (task !== undefined && task.at <= (deadline ?? Infinity)) {
        this.#tasks.splice(this.#tasks.indexOf(task), 1);
        this.now = Math.max(this.now, task.at);
        task.run();
      } else if (deadline !== undefined) {
        this.now = Math.max(this.now, deadline);
        this.input(side, { type: "timeout" });
        must((this.#machines[side].deadline() ?? Infinity) > this.now, "a machine wants the same instant again");
      } else {
        this.#judge();
        return;
      }
    }
    throw new Error("the world does not come to rest");
  }

  /** The dials that `side` reports as linked. */
  linked(side: Side): readonly string[] {
    return this.outcomes.filter((each) => each.side === side && each.failure === undefined).map((each) => each.dial);
  }

  #judge(): void {
    for (const side of ["low", "high"] as const) {
      must(!this.#machines[side].engaged, `${side} rests while an effort is open`);
      const outcomes = this.outcomes.filter((each) => each.side === side);
      must(outcomes.length === this.efforts[side], `${outcomes.length} outcomes of ${this.efforts[side]} efforts`);
      const linked = this.linked(side);
      must(new Set(linked).size === linked.length, "a dial linked twice");
    }
    must(this.linked("low").join() === this.linked("high").join(), "the two sides report different links");
    must(!this.#connections.some((each) => each.state === "live"), "a connection was neither discarded nor linked");
  }

  #nextTask(): Task | undefined {
    const choose = this.#fate.choose;
    const stack = choose && this.#tasks.find((task) => task.stack);
    if (choose && stack === undefined && this.#tasks.length > 0) return this.#tasks[choose(this.#tasks.length)];
    if (stack !== undefined) return stack;
    let next: Task | undefined;
    for (const task of this.#tasks) {
      if (next === undefined || task.at < next.at || (task.at === next.at && task.order < next.order)) next = task;
    }
    return next;
  }

  #find(side: Side, attempt: number): Connection {
    const found = this.#connections.find((each) => each.side === side && each.attempt === attempt);
    must(found !== undefined, "an attempt that was never connected");
    return found;
  }

  #perform(side: Side, output: NegotiationOutput): void {
    switch (output.type) {
      case "connect":
        must(
          !this.#connections.some((each) => each.side === side && each.attempt === output.attempt),
          "attempt reused",
        );
        this.#connections.push({
          side,
          attempt: output.attempt,
          initiator: output.initiator,
          certificate: this.#connections.length + 1,
          opened: false,
          state: "live",
        });
        return;
      case "rtc": {
        const connection = this.#find(side, output.attempt);
        must(connection.state === "live", "a connection that is over is told something");
        this.#command(connection, output.command);
        return;
      }
      case "discard": {
        const connection = this.#find(side, output.attempt);
        must(connection.state === "live", "a connection ends twice");
        connection.state = "gone";
        this.#hearClosed(connection);
        return;
      }
      case "signal":
        this.#carry(side, output.signal);
        return;
      case "opened":
        this.#opened(this.#find(side, output.attempt), output);
        return;
      case "outcome":
        if (output.result.ok) this.#find(side, output.result.attempt).state = "linked";
        this.outcomes.push({
          side,
          dial: hex(output.dial),
          wanted: output.wanted,
          at: this.now,
          ...(output.result.ok ? {} : { failure: output.result.failure }),
        });
        return;
      case "fault":
        throw new Error(`an honest peer is blamed: ${output.fault}`);
      case "ignored":
        return;
    }
  }

  /** The other end of a closed connection may notice. */
  #hearClosed(closed: Connection): void {
    const peer = this.#connections.find((each) => closed.remote && equalBytes(bytesOf(each), closed.remote));
    if (peer === undefined || !this.#fate.noticesClose()) return;
    this.#stack(this.#fate.step(), () => this.#event(peer, { type: "closed", reason: "the other end" }));
  }

  #carry(from: Side, signal: Signal): void {
    const body = decodeSignalBody(encodeSignalBody(signal));
    must(body !== undefined, "a signal that cannot be read");
    const copy = { dial: signal.dial, sequence: signal.sequence, time: signal.time, ...body };
    for (const delayMs of this.#fate.signal(from, signal)) {
      this.later(delayMs, () => this.input(other(from), { type: "signal", signal: copy }));
    }
  }

  #event(connection: Connection, event: RtcEvent): void {
    if (connection.state !== "live") return;
    this.input(connection.side, { type: "rtc", attempt: connection.attempt, event });
  }

  #command(connection: Connection, command: Extract<NegotiationOutput, { type: "rtc" }>["command"]): void {
    if (command.type === "candidate") return;
    if (command.type !== "offer") {
      const parsed = parseSdp(command.type === "answer" ? command.offer : command.answer);
      must(parsed.ok && connection.remote === undefined, "a stack is given one good description");
      connection.remote = parsed.fingerprint;
    }
    if (command.type === "accept") {
      this.#pair(connection);
      return;
    }
    must(connection.initiator === (command.type === "offer"), "offer and answer keep their roles");
    const kind = command.type;
    this.#stack(this.#fate.step(), () => {
      this.#event(connection, { type: "description", kind, sdp: sdpOf(connection.certificate) });
      this.#event(connection, { type: "candidate", ...candidateOf(connection.certificate) });
    });
  }

  /** The initiator knows its answer: both ends go as far as fate lets them, if the other end is still that one. */
  #pair(initiator: Connection): void {
    const answerer = this.#connections.find((each) => equalBytes(bytesOf(each), initiator.remote as Uint8Array));
    if (answerer === undefined || !answerer.remote || !equalBytes(answerer.remote, bytesOf(initiator))) return;
    const reaches = this.#fate.reaches();
    const steps: RtcEvent[] = [];
    if (reaches !== "nothing") steps.push({ type: "ice-connected" });
    if (reaches === "dtls" || reaches === "open") steps.push({ type: "dtls-connected" });
    if (reaches === "open") steps.push({ type: "open" });
    for (const end of [initiator, answerer]) {
      let afterMs = 0;
      for (const event of steps) {
        afterMs += this.#fate.step();
        this.#stack(afterMs, () => {
          if (initiator.state === "live" && answerer.state === "live") this.#event(end, event);
        });
      }
    }
  }

  /** Admission as `session/admission.ts` does it: both ends or neither, and only on certificates that match. */
  #opened(end: Connection, output: Extract<NegotiationOutput, { type: "opened" }>): void {
    must(equalBytes(output.localFingerprint, bytesOf(end)), "the fingerprint of another connection");
    must(
      equalBytes(output.remoteFingerprint, end.remote as Uint8Array),
      "the peer's fingerprint of another connection",
    );
    end.opened = true;
    const peer = this.#connections.find((each) => equalBytes(bytesOf(each), end.remote as Uint8Array));
    if (!peer?.opened) return;
    this.#stack(this.#fate.step(), () => {
      if (end.state !== "live" || peer.state !== "live") return;
      for (const each of [end, peer]) this.input(each.side, { type: "admitted", attempt: each.attempt });
    });
  }
}

function bytesOf(connection: Connection): Uint8Array {
  return new Uint8Array(32).fill(connection.certificate);
}
