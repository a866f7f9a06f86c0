import { concat, equalBytes, utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import { wantedLinks } from "../../../src/proto/overlay/neighbours.ts";
import { Rings } from "../../../src/proto/overlay/rings.ts";
import { type RingSeat, seatOf } from "../../../src/proto/overlay/seat.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { RoutingInput, RoutingOutput } from "../../../src/proto/routing/effects.ts";
import { decodeRouting, Purpose } from "../../../src/proto/routing/envelope.ts";
import { Routing } from "../../../src/proto/routing/routing.ts";
import type { Statement } from "../../../src/proto/signed.ts";

export const NOW: Instant = 1_700_000_000_000;
const HOP_MS = 10;

/** What a node told its owner. */
export type Told = Exclude<RoutingOutput, { type: "send" | "sign" | "verify" }>;

/** A member's identity by number. */
export function id(number: number): PeerId {
  return peerIdOf(sha256(utf8(`member ${number}`)));
}

/** A signature that costs nothing: a hash in place of Ed25519. */
export function fakeSignature(signer: PeerId, body: Uint8Array): Uint8Array {
  const hash = sha256(concat(utf8(signer), body));
  return concat(hash, hash);
}

function holds({ signer, body, signature }: Statement): boolean {
  return equalBytes(signature, fakeSignature(signer, body));
}

/**
 * Routing machines that see the same rings, over links that take 10 ms and lose nothing unless a node is `dead`: that one
 * takes everything and does nothing, as a process that was killed unnoticed.
 */
export class RoutingWorld {
  readonly rings = new Rings();
  readonly nodes: Routing[] = [];
  readonly links: Set<number>[] = [];
  readonly dead = new Set<number>();
  readonly told: { readonly node: number; readonly output: Told }[] = [];
  /** Envelopes and bounces that crossed a link. */
  envelopes = 0;
  bounces = 0;
  /** The id of the envelope that crossed a link last. */
  latestId = new Uint8Array();
  now = NOW;
  readonly #numbers = new Map<PeerId, number>();
  #queue: { readonly at: Instant; readonly to: number; readonly from: number; readonly bytes: Uint8Array }[] = [];

  /** @param isMember who stands in the rings; default everybody. */
  constructor(count: number, isMember: (node: number) => boolean = () => true) {
    const seats = new Map<PeerId, RingSeat>();
    for (let number = 0; number < count; number++) {
      const seat = seatOf(id(number), sha256(utf8(`place ${number}`)).slice(0, 16));
      this.#numbers.set(seat.id, number);
      if (!isMember(number)) continue;
      this.rings.insert(seat);
      seats.set(seat.id, seat);
    }
    for (let number = 0; number < count; number++) {
      this.nodes.push(new Routing(id(number), this.rings, (peer) => seats.get(peer), new SeededRandom(number)));
      this.links.push(new Set());
    }
  }

  /** Makes all links that the rings call for. */
  linkAll(): this {
    for (const peer of this.rings.ids()) {
      const a = this.#numbers.get(peer) as number;
      for (const other of wantedLinks(this.rings, this.rings.seat(peer) as RingSeat))
        this.link(a, this.#numbers.get(other) as number);
    }
    return this;
  }

  link(a: number, b: number): void {
    if (this.links[a]?.has(b)) return;
    this.links[a]?.add(b);
    this.links[b]?.add(a);
    this.give(a, { type: "link-up", peer: id(b) });
    this.give(b, { type: "link-up", peer: id(a) });
  }

  unlink(a: number, b: number): void {
    this.links[a]?.delete(b);
    this.links[b]?.delete(a);
    this.give(a, { type: "link-down", peer: id(b) });
    this.give(b, { type: "link-down", peer: id(a) });
  }

  /** Sends a signal; `request` is the number of the sender. */
  signal(from: number, to: number, contents: Uint8Array = Uint8Array.of(from, to)): void {
    this.give(from, { type: "route", to: id(to), purpose: Purpose.signal, contents, request: from });
  }

  give(node: number, input: RoutingInput): void {
    if (this.dead.has(node)) return;
    const routing = this.nodes[node] as Routing;
    const pending: RoutingInput[] = [input];
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      for (const output of routing.handle(next, this.now)) {
        const answer = this.#perform(node, output);
        if (answer !== undefined) pending.push(answer);
      }
    }
  }

  /** Lets `ms` pass. */
  run(ms: number): this {
    const until = this.now + ms;
    for (;;) {
      let at = this.#queue[0]?.at ?? Number.POSITIVE_INFINITY;
      for (const node of this.nodes) at = Math.min(at, node.deadline() ?? at);
      if (at > until) break;
      this.now = Math.max(this.now, at);
      this.#tick();
    }
    this.now = until;
    return this;
  }

  /** What `node` told, by type. */
  toldBy<Type extends Told["type"]>(node: number, type: Type): Extract<Told, { type: Type }>[] {
    const found: Extract<Told, { type: Type }>[] = [];
    for (const { node: by, output } of this.told)
      if (by === node && output.type === type) found.push(output as Extract<Told, { type: Type }>);
    return found;
  }

  /** All faults: who reported which, blaming whom. */
  faults(): string[] {
    return this.told.flatMap(({ node, output }) =>
      output.type === "fault"
        ? [`${node}: ${output.fault}${output.peer === undefined ? "" : ` ${this.#numbers.get(output.peer)}`}`]
        : [],
    );
  }

  #tick(): void {
    const due = this.#queue.filter(({ at }) => at <= this.now);
    this.#queue = this.#queue.filter(({ at }) => at > this.now);
    for (const { to, from, bytes } of due) {
      if (this.links[to]?.has(from)) this.give(to, { type: "message", peer: id(from), bytes });
    }
    for (const [number, node] of this.nodes.entries()) {
      const deadline = node.deadline();
      if (deadline !== undefined && deadline <= this.now) this.give(number, { type: "timeout" });
    }
  }

  #perform(node: number, output: RoutingOutput): RoutingInput | undefined {
    switch (output.type) {
      case "send": {
        const message = decodeRouting(output.bytes);
        if (message?.type === "envelope") {
          this.envelopes++;
          this.latestId = message.envelope.id.slice();
        } else if (message?.type === "bounce") this.bounces++;
        const to = this.#numbers.get(output.peer) as number;
        this.#queue.push({ at: this.now + HOP_MS, to, from: node, bytes: output.bytes });
        return undefined;
      }
      case "sign":
        return { type: "signed", signature: fakeSignature(id(node), output.body), resume: output.resume };
      case "verify":
        if (output.statements.every(holds)) return { type: "verified", resume: output.resume };
        this.told.push({ node, output: { type: "fault", peer: output.from, fault: "route-malformed" } });
        return undefined;
      default:
        this.told.push({ node, output });
        return undefined;
    }
  }
}
