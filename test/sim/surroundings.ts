import type { PeerId } from "../../src/proto/peer-id.ts";
import { fraction, type Random } from "../../src/proto/random.ts";
import type { Sign, Verify } from "../../src/proto/signed.ts";
import type { Bootstrap } from "./bootstrap.ts";
import type { Member } from "./member.ts";
import type { Network } from "./network.ts";
import type { SimInput, Typed } from "./node.ts";
import type { FakeSigner } from "./signer.ts";

/** A dial that meets nobody ends after this, ms: the agent's own patience with a connection. */
const DIAL_TIMEOUT_MS = 10_000;

/** Round trips of a set-up: offer and answer, ICE checks, DTLS, SCTP, admission. */
const SETUP_ROUND_TRIPS = 6;

/** Gathering, hashing and signing, ms: from the measurements of both stacks, 6 to 140 ms in all. */
const SETUP_WORK_MS = 100;

/** A lost packet at set-up costs this, ms: DTLS's first retransmission. */
const SETUP_RETRY_MS = 1_000;

/** A request to the bootstrap service and its answer, ms: 20 to 80. */
const SERVER_LEAST_MS = 20;
const SERVER_SPAN_MS = 60;

/** What the surroundings need of the world. */
export interface SurroundingsHost<Command extends Typed, Event extends Typed> {
  readonly now: number;
  readonly network: Network;
  readonly bootstrap: Bootstrap;
  readonly signer: FakeSigner;
  readonly dialFailure: number;
  readonly stats: { forgeries: number; dials: number };
  find(peer: PeerId): Member<Command, Event> | undefined;
  after(delayMs: number, run: () => void): void;
  feed(member: Member<Command, Event>, input: SimInput | Command): void;
  join(a: Member<Command, Event>, b: Member<Command, Event>): void;
}

/**
 * What a node asks for beyond its links: dials, introductions, signatures.
 *
 * Signals travel through the bootstrap service while it is up, else through the mesh: then both sides need a link at least.
 * A dial takes six round trips and some work; it meets nobody (dead, frozen, unreachable, a NAT pair that cannot connect)
 * or fails by chance after ten seconds.
 */
export class Surroundings<Command extends Typed, Event extends Typed> {
  readonly #host: SurroundingsHost<Command, Event>;
  readonly #random: Random;

  constructor(host: SurroundingsHost<Command, Event>, random: Random) {
    this.#host = host;
    this.#random = random;
  }

  dial(member: Member<Command, Event>, peer: PeerId): void {
    if (member.ends.has(peer) || member.dialing.has(peer) || peer === member.id) return;
    member.dialing.add(peer);
    this.#host.stats.dials++;
    const host = this.#host;
    const target = host.find(peer);
    const { boot } = member;
    const startedAt = host.now;
    const signalled = target !== undefined && this.#canSignal(member, target);
    const setupMs = signalled ? this.#setupMs(member, target) : DIAL_TIMEOUT_MS;
    const lucky = fraction(this.#random) >= host.dialFailure;
    host.after(Math.min(setupMs, DIAL_TIMEOUT_MS), () => {
      if (member.boot !== boot || member.node === undefined) return;
      if (signalled && lucky && setupMs < DIAL_TIMEOUT_MS && this.#canConnect(member, target)) {
        member.dialing.delete(peer);
        // Both may have dialled: the first link that is ready serves both.
        const end = member.ends.get(peer);
        if (end === undefined || !end.other.open) host.join(member, target);
        return;
      }
      const reason = signalled && target.state === "running" ? "no-path" : "absent";
      host.after(startedAt + DIAL_TIMEOUT_MS - host.now, () => {
        if (member.boot !== boot || !member.dialing.delete(peer) || member.ends.has(peer)) return;
        host.feed(member, { type: "dial-failed", peer, reason });
      });
    });
  }

  ask(member: Member<Command, Event>, peer: PeerId): void {
    const target = this.#host.find(peer);
    if (target === undefined || !this.#canSignal(member, target)) return;
    this.#host.after(this.#host.network.latencyMs(member.index, target.index), () => {
      if (!this.#host.network.reaches(member.index, target.index)) return;
      this.#host.feed(target, { type: "asked", peer: member.id });
    });
  }

  /** The node's way to the bootstrap service is there: it logs in, presents itself and is told of some others. */
  login(member: Member<Command, Event>): void {
    this.#atBootstrap(member, () => {
      const { bootstrap, now } = this.#host;
      bootstrap.login(member.id);
      if (member.record !== undefined) bootstrap.present(member.id, member.record);
      const records = bootstrap.introductions(member.id, now);
      this.#host.feed(member, { type: "introduced", standing: "present", records });
    });
  }

  present(member: Member<Command, Event>, record: Uint8Array): void {
    member.record = record;
    if (this.#host.bootstrap.up) this.#host.bootstrap.present(member.id, record);
  }

  introduce(member: Member<Command, Event>): void {
    this.#atBootstrap(member, () => {
      const records = this.#host.bootstrap.introductions(member.id, this.#host.now);
      this.#host.feed(member, { type: "introduced", standing: "present", records });
    });
  }

  sign(member: Member<Command, Event>, { label, body, resume }: Sign<unknown>): void {
    const signature = this.#host.signer.sign(member.id, label, body);
    this.#host.feed(member, { type: "signed", signature, resume });
  }

  verify(member: Member<Command, Event>, { from, statements, token, resume }: Verify<unknown>): void {
    const { signer, stats, now } = this.#host;
    const facts = token === undefined ? undefined : signer.facts(token, member.clock.at(now));
    const bound = token === undefined || (facts !== undefined && facts.subject === statements[0]?.signer);
    if (!bound || !statements.every((statement) => signer.holds(statement))) {
      stats.forgeries++;
      this.#host.feed(member, { type: "rejected", from, resume });
    } else if (facts === undefined) this.#host.feed(member, { type: "verified", resume });
    else this.#host.feed(member, { type: "verified", resume, token: facts });
  }

  /** Runs `then` when the service has answered, if it and the node are still there. */
  #atBootstrap(member: Member<Command, Event>, then: () => void): void {
    const { bootstrap } = this.#host;
    const { boot } = member;
    if (!bootstrap.up) return;
    this.#host.after(SERVER_LEAST_MS + SERVER_SPAN_MS * fraction(this.#random), () => {
      if (bootstrap.up && member.boot === boot && member.node !== undefined) then();
    });
  }

  #setupMs(member: Member<Command, Event>, target: Member<Command, Event>): number {
    const { network } = this.#host;
    let ms = SETUP_ROUND_TRIPS * 2 * network.latencyMs(member.index, target.index);
    ms += SETUP_WORK_MS * fraction(this.#random);
    const loss = Math.max(
      network.lossBetween(member.index, target.index),
      network.lossBetween(target.index, member.index),
    );
    for (let packet = 0; packet < 2 * SETUP_ROUND_TRIPS && loss > 0; packet++) {
      if (fraction(this.#random) < loss) ms += SETUP_RETRY_MS;
    }
    return ms;
  }

  #canSignal(member: Member<Command, Event>, target: Member<Command, Event>): boolean {
    return this.#host.bootstrap.up || (member.ends.size > 0 && target.ends.size > 0);
  }

  #canConnect(member: Member<Command, Event>, target: Member<Command, Event>): boolean {
    const { network } = this.#host;
    const a = member.index;
    const b = target.index;
    const awake = member.state === "running" && target.state === "running";
    return awake && network.reaches(a, b) && network.reaches(b, a) && network.connectable(a, b);
  }
}
