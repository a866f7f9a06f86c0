import type { PeerId } from "../../src/proto/peer-id.ts";
import { fraction, type Random } from "../../src/proto/random.ts";
import type { Sign, Verify } from "../../src/proto/signed.ts";
import type { Member } from "./member.ts";
import type { Network } from "./network.ts";
import type { SimInput, Typed } from "./node.ts";
import { Signaling, type SignalingHost } from "./signaling.ts";
import type { FakeSigner } from "./signer.ts";

/** A dial that meets nobody ends after this, ms: the agent's own patience with a connection. */
const DIAL_TIMEOUT_MS = 10_000;

/** Round trips of a set-up after offer and answer: ICE checks, DTLS, SCTP, admission. */
const SETUP_ROUND_TRIPS = 5;

/** Gathering, hashing and signing, ms: from the measurements of both stacks, 6 to 140 ms in all. */
const SETUP_WORK_MS = 100;

/** A lost packet at set-up costs this, ms: DTLS's first retransmission. */
const SETUP_RETRY_MS = 1_000;

/** What a letter is about; the number of the dial follows. */
const Letter = { offer: 1, answer: 2, ask: 3 } as const;

/** What the surroundings need of the world. */
export interface SurroundingsHost<Command extends Typed, Event extends Typed> {
  readonly now: number;
  readonly network: Network;
  readonly signer: FakeSigner;
  readonly dialFailure: number;
  readonly stats: { forgeries: number; dials: number };
  find(peer: PeerId): Member<Command, Event> | undefined;
  after(delayMs: number, run: () => void): void;
  feed(member: Member<Command, Event>, input: SimInput | Command): void;
  join(a: Member<Command, Event>, b: Member<Command, Event>): void;
}

/** A dial under way. */
interface Dial<Command extends Typed, Event extends Typed> {
  readonly member: Member<Command, Event>;
  readonly target: Member<Command, Event> | undefined;
  readonly peer: PeerId;
  readonly boot: number;
  /** It fails by chance. */
  readonly unlucky: boolean;
  answered: boolean;
}

/**
 * What a node asks for beyond its links: dials, introductions, signatures.
 *
 * A dial is an offer, an answer, five more round trips and some work. Offer and answer travel through the signaling server where
 * its sender is logged in (agents try the mesh first: the server here sees more than it would), else through the mesh: then both
 * sides need a link at least. A dial that meets nobody (dead, frozen, unreachable, a NAT pair that cannot connect) or fails by
 * chance ends after ten seconds.
 */
export class Surroundings<Command extends Typed, Event extends Typed> implements SignalingHost<Member<Command, Event>> {
  readonly signaling: Signaling<Member<Command, Event>>;
  readonly #host: SurroundingsHost<Command, Event>;
  readonly #random: Random;
  readonly #dials = new Map<number, Dial<Command, Event>>();
  #lastDial = 0;

  constructor(host: SurroundingsHost<Command, Event>, random: Random, server: boolean) {
    this.#host = host;
    this.#random = random;
    this.signaling = new Signaling(this, random.fork("signaling"), server);
  }

  get now(): number {
    return this.#host.now;
  }

  after(delayMs: number, run: () => void): void {
    this.#host.after(delayMs, run);
  }

  dial(member: Member<Command, Event>, peer: PeerId): void {
    if (member.ends.has(peer) || member.dialing.has(peer) || peer === member.id) return;
    member.dialing.add(peer);
    const host = this.#host;
    host.stats.dials++;
    const number = ++this.#lastDial;
    const unlucky = fraction(this.#random) < host.dialFailure;
    const { boot } = member;
    this.#dials.set(number, { member, target: host.find(peer), peer, boot, unlucky, answered: false });
    host.after(DIAL_TIMEOUT_MS, () => this.#giveUp(number));
    this.#say(member, peer, letterOf(Letter.offer, number));
  }

  ask(member: Member<Command, Event>, peer: PeerId): void {
    this.#say(member, peer, letterOf(Letter.ask, 0));
  }

  introduced(member: Member<Command, Event>, records: readonly Uint8Array[]): void {
    this.#host.feed(member, { type: "introduced", standing: "present", records });
  }

  signaled(member: Member<Command, Event>, from: PeerId, letter: Uint8Array): void {
    const [kind = 0] = letter;
    const number = new DataView(letter.buffer, letter.byteOffset).getUint32(1);
    if (kind === Letter.ask) this.#host.feed(member, { type: "asked", peer: from });
    else if (kind === Letter.answer) this.#answered(number);
    else if (member.state === "running") this.#say(member, from, letterOf(Letter.answer, number));
  }

  undelivered(member: Member<Command, Event>, to: PeerId, letter: Uint8Array): void {
    this.#throughMesh(member, to, letter);
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

  #say(member: Member<Command, Event>, to: PeerId, letter: Uint8Array): void {
    if (this.signaling.isReady(member)) this.signaling.signal(member, to, letter);
    else this.#throughMesh(member, to, letter);
  }

  /** Letters go round what does not pass; what no ask survives is a pair that does not reach each other at all. */
  #throughMesh(member: Member<Command, Event>, to: PeerId, letter: Uint8Array): void {
    const { network } = this.#host;
    const target = this.#host.find(to);
    if (target === undefined || member.ends.size === 0 || target.ends.size === 0) return;
    this.#host.after(network.latencyMs(member.index, target.index), () => {
      if (letter[0] === Letter.ask && !network.reaches(member.index, target.index)) return;
      if (target.node !== undefined) this.signaled(target, member.id, letter);
    });
  }

  #answered(number: number): void {
    const dial = this.#dials.get(number);
    if (dial?.target === undefined) return;
    dial.answered = true;
    const { member, target, peer, boot, unlucky } = dial;
    this.#host.after(this.#setupMs(member, target), () => {
      if (member.boot !== boot || member.node === undefined || unlucky || !this.#canConnect(member, target)) return;
      if (!this.#dials.delete(number)) return;
      member.dialing.delete(peer);
      // Both may have dialled: the first link that is ready serves both.
      const end = member.ends.get(peer);
      if (end === undefined || !end.other.open) this.#host.join(member, target);
    });
  }

  #giveUp(number: number): void {
    const dial = this.#dials.get(number);
    if (dial === undefined) return;
    this.#dials.delete(number);
    const { member, target, peer, boot, answered } = dial;
    if (member.boot !== boot || !member.dialing.delete(peer) || member.ends.has(peer)) return;
    const reason = answered && target?.state === "running" ? "no-path" : "absent";
    this.#host.feed(member, { type: "dial-failed", peer, reason });
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

  #canConnect(member: Member<Command, Event>, target: Member<Command, Event>): boolean {
    const { network } = this.#host;
    const a = member.index;
    const b = target.index;
    const awake = member.state === "running" && target.state === "running";
    return awake && network.reaches(a, b) && network.reaches(b, a) && network.connectable(a, b);
  }
}

function letterOf(kind: (typeof Letter)[keyof typeof Letter], number: number): Uint8Array {
  const letter = new Uint8Array(5);
  letter[0] = kind;
  new DataView(letter.buffer).setUint32(1, number);
  return letter;
}
