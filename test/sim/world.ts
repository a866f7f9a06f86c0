import { assert } from "../../src/proto/assert.ts";
import { type PeerId, peerIdOf } from "../../src/proto/peer-id.ts";
import { fraction, randomBytes, SeededRandom } from "../../src/proto/random.ts";
import { Agenda } from "./agenda.ts";
import { Clock } from "./clock.ts";
import { Digest } from "./digest.ts";
import { EPOCH_MS } from "./epoch.ts";
import { EventHeap } from "./event-heap.ts";
import { frameBytes } from "./frame-bytes.ts";
import { type End, type LinkHost, Links } from "./links.ts";
import { type Member, type MemberState, newMember } from "./member.ts";
import { Network } from "./network.ts";
import type { LinkDownReason, MessageInput, SimInput, SimNode, SimOutput, Typed } from "./node.ts";
import type { Signaling } from "./signaling.ts";
import { FakeSigner } from "./signer.ts";
import { Surroundings, type SurroundingsHost } from "./surroundings.ts";
import type { WorldOptions, WorldStats } from "./world-options.ts";

/** Time-outs of one node at one instant: beyond, its deadline does not move and the run would never end. */
const MAX_TIMEOUTS_AT_ONCE = 1_000;

const TIMEOUT: SimInput = { type: "timeout" };

/**
 * A deterministic world of nodes, links and a signaling server under one virtual clock.
 *
 * Everything that happens comes from one queue, every random choice from one seed, and the digest covers every input that
 * any node was given: two runs of a seed are equal, or a machine is not deterministic. Nothing here reads a clock.
 */
export class World<Command extends Typed = never, Event extends Typed = never>
  implements LinkHost, SurroundingsHost<Command, Event>
{
  /** Virtual Unix time, ms. */
  now = EPOCH_MS;
  readonly heap = new EventHeap();
  readonly network: Network;
  readonly signer: FakeSigner;
  readonly stats: WorldStats = { events: 0, messages: 0, bytes: 0, timeouts: 0, dials: 0, forgeries: 0 };
  /** Probability that a dial between reachable nodes fails all the same, 0 to 1. */
  dialFailure = 0;
  readonly #options: WorldOptions<Command, Event>;
  readonly #random: SeededRandom;
  readonly #members: Member<Command, Event>[] = [];
  readonly #byId = new Map<PeerId, Member<Command, Event>>();
  readonly #links: Links;
  readonly #agenda: Agenda;
  readonly #surroundings: Surroundings<Command, Event>;
  readonly #digest = new Digest();
  /** Inputs that an input caused: given when its outputs have all been carried out. */
  #queue: { member: Member<Command, Event>; input: SimInput | Command }[] = [];
  #feeding = false;

  constructor(options: WorldOptions<Command, Event>) {
    const { nodes, seed } = options;
    this.#options = options;
    this.#random = new SeededRandom(seed);
    this.network = new Network(nodes, this.#random.fork("network"), options.network ?? {});
    this.signer = new FakeSigner(seed);
    // Heap sources: 0 is the agenda, then the nodes, then the links.
    this.#agenda = new Agenda(this.heap, 0);
    this.#links = new Links(this, this.network, this.#random.fork("links"), nodes + 1);
    this.#surroundings = new Surroundings(this, this.#random.fork("surroundings"), options.server ?? true);
    const keys = this.#random.fork("keys");
    const drifts = this.#random.fork("drifts");
    const { clockSkewMs: skew = 0, clockDriftPpm: drift = 0 } = options;
    for (let index = 0; index < nodes; index++) {
      const id = peerIdOf(randomBytes(keys, 32));
      const skewMs = skew === 0 ? 0 : Math.floor((2 * fraction(keys) - 1) * skew);
      const driftPpm = drift === 0 ? 0 : (2 * fraction(drifts) - 1) * drift;
      this.#members.push(newMember(index, id, new Clock(skewMs, driftPpm)));
    }
    for (const member of this.#members) this.#byId.set(member.id, member);
  }

  /** Everything that has happened, as one number. */
  get digest(): string {
    return this.#digest.toString();
  }

  /** Virtual time since the begin, ms. */
  get elapsedMs(): number {
    return this.now - EPOCH_MS;
  }

  /** The signaling server: it can go down, and come back with an empty memory. */
  get signaling(): Signaling<Member<Command, Event>> {
    return this.#surroundings.signaling;
  }

  /** The most messages that one direction of a link has ever held. */
  get queuePeak(): number {
    return this.#links.deepest;
  }

  /** How many nodes there are, running or not. */
  get size(): number {
    return this.#members.length;
  }

  idOf(index: number): PeerId {
    return this.#member(index).id;
  }

  indexOf(id: PeerId): number | undefined {
    return this.#byId.get(id)?.index;
  }

  stateOf(index: number): MemberState {
    return this.#member(index).state;
  }

  /** The machine that runs at `index`; undefined before its start and after a crash. */
  node(index: number): SimNode<Command, Event> | undefined {
    return this.#member(index).node;
  }

  bootOf(index: number): number {
    return this.#member(index).boot;
  }

  /** Messages that the node has handed to its links in all its lives. */
  messagesSentBy(index: number): number {
    return this.#member(index).messagesSent;
  }

  /** Whether both sides hold an open link to each other. */
  linked(a: number, b: number): boolean {
    return this.#member(a).ends.get(this.idOf(b))?.other.open === true;
  }

  /** How many links of the node are open on both sides. */
  linksOf(index: number): number {
    let open = 0;
    for (const end of this.#member(index).ends.values()) if (end.other.open) open++;
    return open;
  }

  /** Starts a node that does not run, with a fresh machine. */
  start(index: number): void {
    const member = this.#member(index);
    assert(member.state === "idle" || member.state === "crashed", "only a node that does not run can be started");
    member.state = "running";
    member.boot++;
    const { id, boot, disk } = member;
    const random = this.#random.fork(`node ${index} boot ${boot}`);
    member.node = this.#options.create({ index, id, boot, random, disk, now: member.clock.at(this.now) });
    this.#arm(member);
    this.signaling.begin(member);
  }

  /** The node's process is killed: its links fall silent and nobody is told. */
  crash(index: number): void {
    const member = this.#member(index);
    if (member.node === undefined) return;
    for (const end of member.ends.values()) this.#links.vanish(end);
    this.#end(member, false);
  }

  /** The node's process ends in order: its links are closed. */
  stop(index: number): void {
    const member = this.#member(index);
    if (member.node === undefined) return;
    for (const end of [...member.ends.values()]) this.#links.close(end, "dropped");
    this.#end(member, true);
  }

  /** The node stands still (a debugger, a suspended laptop): nothing reaches it before {@link thaw}. */
  freeze(index: number): void {
    const member = this.#member(index);
    if (member.state !== "running") return;
    member.state = "frozen";
    this.heap.clear(1 + index);
  }

  thaw(index: number): void {
    const member = this.#member(index);
    if (member.state !== "frozen") return;
    member.state = "running";
    const waiting = member.inbox;
    member.inbox = [];
    for (const input of waiting) this.feed(member, input);
    for (const end of member.ends.values()) this.#links.thaw(end);
    this.#arm(member);
  }

  /** Gives a node one of its own inputs, now. A node that does not run ignores it. */
  command(index: number, command: Command): void {
    this.feed(this.#member(index), command);
  }

  /** Links two running nodes at once, without a dial. */
  connect(a: number, b: number): void {
    this.join(this.#member(a), this.#member(b));
  }

  /** Closes the link between two nodes from the side of `a`. */
  disconnect(a: number, b: number): void {
    const end = this.#member(a).ends.get(this.idOf(b));
    if (end !== undefined) this.#links.close(end, "dropped");
  }

  /** Runs `run` after `delayMs`. */
  after(delayMs: number, run: () => void): void {
    this.#agenda.add(this.now + delayMs, run);
  }

  /** Changes the network's conditions; links feel it at once. */
  change(edit: (network: Network) => void): void {
    edit(this.network);
    this.#links.refresh();
  }

  /** Lets `forMs` of virtual time pass, with everything that happens in it. */
  run(forMs: number): void {
    const until = this.now + forMs;
    const nodes = this.#members.length;
    while (this.heap.next() <= until) {
      this.now = Math.max(this.now, this.heap.next());
      const source = this.heap.pop();
      if (source > nodes) this.#links.due(source);
      else if (source > 0) this.#timeout(this.#member(source - 1));
      else this.#agenda.due();
    }
    this.now = until;
  }

  isFrozen(index: number): boolean {
    return this.#members[index]?.state === "frozen";
  }

  deliver(index: number, message: MessageInput): void {
    const member = this.#member(index);
    this.stats.messages++;
    this.stats.bytes += frameBytes(message.lane, message.bytes.length);
    this.#options.tap?.(message, index);
    this.feed(member, message);
  }

  linkDown(end: End, reason: LinkDownReason): void {
    const member = this.#member(end.member);
    if (member.ends.get(end.peer) !== end) return;
    member.ends.delete(end.peer);
    const deliberate = reason === "dropped" || reason === "closed" || reason === "replaced";
    this.feed(member, { type: "link-down", peer: end.peer, reason, deliberate });
  }

  find(peer: PeerId): Member<Command, Event> | undefined {
    return this.#byId.get(peer);
  }

  /** Makes a link; a link that one side still believes in gives way. */
  join(a: Member<Command, Event>, b: Member<Command, Event>): void {
    for (const [member, peer] of [
      [a, b.id],
      [b, a.id],
    ] as const) {
      const stale = member.ends.get(peer);
      if (stale !== undefined) this.#links.replace(stale);
    }
    const [endOfA, endOfB] = this.#links.connect(a.index, a.id, b.index, b.id);
    a.ends.set(b.id, endOfA);
    b.ends.set(a.id, endOfB);
    const rttMs = 2 * this.network.latencyMs(a.index, b.index);
    this.feed(a, { type: "link-up", peer: b.id, rttMs });
    this.feed(b, { type: "link-up", peer: a.id, rttMs });
  }

  #member(index: number): Member<Command, Event> {
    const member = this.#members[index];
    assert(member !== undefined, "no such node");
    return member;
  }

  #end(member: Member<Command, Event>, orderly: boolean): void {
    member.ends.clear();
    member.dialing.clear();
    member.inbox = [];
    member.state = "crashed";
    member.node = undefined;
    this.heap.clear(1 + member.index);
    this.signaling.end(member, orderly);
  }

  #timeout(member: Member<Command, Event>): void {
    if (member.timeoutAt === this.now) {
      member.timeoutsAtOnce++;
      assert(member.timeoutsAtOnce < MAX_TIMEOUTS_AT_ONCE, `node ${member.index} wants time-outs without end`);
    } else {
      member.timeoutAt = this.now;
      member.timeoutsAtOnce = 0;
    }
    this.stats.timeouts++;
    this.feed(member, TIMEOUT);
  }

  /** Gives an input to a node, then everything that follows from it at once. */
  feed(member: Member<Command, Event>, input: SimInput | Command): void {
    if (this.#feeding) {
      this.#queue.push({ member, input });
      return;
    }
    this.#feeding = true;
    this.#apply(member, input);
    if (this.#queue.length > 0) {
      for (let next = 0; next < this.#queue.length; next++) {
        const caused = this.#queue[next] as { member: Member<Command, Event>; input: SimInput | Command };
        this.#apply(caused.member, caused.input);
      }
      this.#queue = [];
    }
    this.#feeding = false;
  }

  #apply(member: Member<Command, Event>, input: SimInput | Command): void {
    const node = member.node;
    if (node === undefined) return;
    if (member.state === "frozen") {
      member.inbox.push(input);
      return;
    }
    this.stats.events++;
    this.#digest.number(this.now);
    this.#digest.word(member.index);
    if (input.type === "message") this.#digest.message((input as MessageInput).bytes);
    else if (input.type !== "timeout") this.#digest.text(input.type);
    const outputs = node.handle(input, member.clock.at(this.now));
    for (let index = 0; index < outputs.length; index++) {
      this.#perform(member, outputs[index] as SimOutput | Event);
    }
    this.#arm(member);
  }

  #arm(member: Member<Command, Event>): void {
    if (member.state !== "running") return;
    const source = 1 + member.index;
    const deadline = member.node?.deadline();
    if (deadline === undefined) {
      this.heap.clear(source);
      return;
    }
    const at = Math.max(this.now, member.clock.when(deadline));
    if (this.heap.at(source) !== at) this.heap.set(source, at);
  }

  #perform(member: Member<Command, Event>, effect: SimOutput | Event): void {
    const output = effect as SimOutput;
    switch (output.type) {
      case "send": {
        const end = member.ends.get(output.peer);
        if (end === undefined) return;
        member.messagesSent++;
        this.#links.send(end, { type: "message", peer: member.id, lane: output.lane, bytes: output.bytes });
        return;
      }
      case "dial":
        this.#surroundings.dial(member, output.peer);
        return;
      case "ask":
        this.#surroundings.ask(member, output.peer);
        return;
      case "drop": {
        const end = member.ends.get(output.peer);
        if (end !== undefined) this.#links.close(end, "dropped");
        return;
      }
      case "present":
        this.signaling.present(member, output.record);
        return;
      case "introduce":
        this.signaling.introduce(member);
        return;
      case "nudge":
        this.signaling.nudge(member, output.unlessReady);
        return;
      case "sign":
        this.#surroundings.sign(member, output);
        return;
      case "verify":
        this.#surroundings.verify(member, output);
        return;
      default:
        this.#options.observe?.(member.index, effect as Event, this.now);
    }
  }
}
