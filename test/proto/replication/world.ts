/**
 * Several replicas in one process: virtual time, links that can be cut, a flooding broadcast with verdicts and loss, and
 * signatures and tokens that are hashes. Everything is drawn from one seed.
 */

import { concat, equalBytes, hex, utf8 } from "../../../src/proto/bytes.ts";
import { earlier } from "../../../src/proto/deadlines.ts";
import type { MessageId } from "../../../src/proto/gossip/messages.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { below, fraction, SeededRandom } from "../../../src/proto/random.ts";
import type { Arrival, ReplicationInput, ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import type { Quotas } from "../../../src/proto/replication/limits.ts";
import { Replication } from "../../../src/proto/replication/replication.ts";
import { signedBytes, type TokenFacts, type Verify } from "../../../src/proto/signed.ts";
import { RowDisk } from "../../sim/row-disk.ts";

export const START: Instant = 1_800_000_000_000;
const DAY_MS = 86_400_000;

export function peerNumber(number: number): PeerId {
  return peerIdOf(sha256(utf8(`peer ${number}`)));
}

/** A token as the test's authority issues it. */
export function tokenFor(
  peer: PeerId,
  scopes = "kv:write:*,kv:admin:*",
  from = START - 3_600_000,
  until = START + 7 * DAY_MS,
): string {
  return ["token", peer, from, until, scopes].join("|");
}

export function factsOf(token: string, at: Instant): TokenFacts | undefined {
  const [kind, subject, from, until, scopes] = token.split("|");
  if (kind !== "token" || at < Number(from) || at >= Number(until)) return undefined;
  return {
    subject: subject as PeerId,
    expiresAt: Number(until),
    scopes: (scopes ?? "").split(","),
    place: new Uint8Array(16),
  };
}

export function fakeSignature(signer: PeerId, body: Uint8Array): Uint8Array {
  const half = sha256(concat(utf8(signer), signedBytes("starling/batch/1", body)));
  return concat(half, half);
}

/** What a driver answers to a verification: the facts, or undefined when something does not hold. */
export function check(effect: Verify<Arrival>, now: Instant): TokenFacts | undefined {
  for (const { signer, body, signature } of effect.statements) {
    if (!equalBytes(signature, fakeSignature(signer, body))) return undefined;
  }
  const facts = factsOf(effect.token ?? "", effect.at ?? now);
  return facts?.subject === effect.statements[0]?.signer ? facts : undefined;
}

interface Event {
  readonly at: Instant;
  readonly order: number;
  readonly run: () => void;
}

export interface Node {
  readonly number: number;
  readonly id: PeerId;
  replication: Replication;
  /** Undefined: it keeps everything in memory. */
  disk: RowDisk | undefined;
  /** What outlives a crash. */
  readonly medium: Map<string, unknown>;
  /** Between a crash and a restart nothing reaches it. */
  isUp: boolean;
  token: string;
  /** Since when whom or which token is revoked, as far as it has heard. */
  readonly revoked: Map<string, Instant>;
  readonly quotas: Quotas | undefined;
  readonly links: Set<PeerId>;
  readonly outputs: ReplicationOutput[];
  readonly seen: Set<string>;
  readonly pending: Map<string, { readonly payload: Uint8Array; readonly from: PeerId }>;
  /** Its clock minus the world's. */
  skewMs: number;
  /** The latest reading of its clock in this life. */
  clock: Instant;
  wakeAt: Instant | undefined;
}

export class World {
  now: Instant = START;
  readonly nodes: Node[] = [];
  readonly random: SeededRandom;
  /** Share of broadcast copies that are lost on each hop. */
  loss = 0;
  /** Bytes sent over links on the data lane, messages, and the largest message. */
  bytes = 0;
  messages = 0;
  largest = 0;
  broadcastBytes = 0;
  readonly kinds = new Map<number, number>();
  /** Whether replicas that are added store what they have, and have it again after a crash. */
  durable = false;
  /** Members that the others take for down. */
  readonly gone = new Set<PeerId>();
  /** Members that a node has not heard of yet since it started. */
  readonly strangers = new Map<PeerId, ReadonlySet<PeerId>>();
  /** Whether tokens of other members are known from their records. */
  recordsKnown = true;
  readonly #byId = new Map<PeerId, Node>();
  readonly #epochs = new Map<string, number>();
  #events: Event[] = [];
  #order = 0;
  #request = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  add(
    number: number,
    options: { readonly scopes?: string; readonly quotas?: Quotas; readonly token?: string } = {},
  ): Node {
    const id = peerNumber(number);
    const token = options.token ?? tokenFor(id, options.scopes);
    const medium = new Map<string, unknown>();
    const disk = this.durable ? new RowDisk(medium) : undefined;
    const node: Node = {
      number,
      id,
      replication: this.#replica(number, id, disk, options.quotas),
      disk,
      medium,
      isUp: true,
      quotas: options.quotas,
      token,
      revoked: new Map(),
      links: new Set(),
      outputs: [],
      seen: new Set(),
      pending: new Map(),
      skewMs: 0,
      clock: 0,
      wakeAt: undefined,
    };
    this.nodes.push(node);
    this.#byId.set(id, node);
    this.#begin(node);
    for (const other of this.nodes) this.input(other, { type: "members", count: this.nodes.length });
    return node;
  }

  #replica(number: number, id: PeerId, disk: RowDisk | undefined, quotas: Quotas | undefined): Replication {
    return new Replication({
      self: id,
      random: this.random.fork(`node ${number}`),
      tokenOf: (member) => (this.recordsKnown || member === id ? this.#byId.get(member)?.token : undefined),
      ...(quotas !== undefined && { quotas }),
      ...(disk !== undefined && { restoration: disk.restore() }),
      voids: (author, token, at) => this.#isVoid(this.#byId.get(id), author, token, at),
      scopesOf: (member) => factsOf(this.#byId.get(member)?.token ?? "", this.now)?.scopes,
      storers: () =>
        this.nodes
          .filter(({ id: other }) => !this.gone.has(other) && !this.strangers.get(id)?.has(other))
          .map((node) => ({ id: node.id, capacity: 100 })),
    });
  }

  #begin(node: Node): void {
    const { token } = node;
    const facts = factsOf(token, this.now);
    const expiresAt = facts?.expiresAt ?? START + 7 * DAY_MS;
    this.input(node, { type: "credentials", token, scopes: facts?.scopes ?? [], expiresAt });
  }

  /** The process of a node ends at once: its links go, and what its disk has not written. */
  crash(node: Node): void {
    node.isUp = false;
    node.pending.clear();
    for (const other of this.nodes) if (node.links.has(other.id)) this.unlink(node, other);
  }

  /** Everybody learns that a node is gone, or is back. */
  declare(node: Node, isGone: boolean): void {
    if (isGone) this.gone.add(node.id);
    else this.gone.delete(node.id);
    for (const other of this.nodes) this.#tellCount(other);
  }

  /** A node that has crashed starts again with what its disk has. It has no links yet. */
  restart(node: Node): void {
    node.disk = this.durable ? new RowDisk(node.medium) : undefined;
    node.replication = this.#replica(node.number, node.id, node.disk, node.quotas);
    node.isUp = true;
    node.clock = 0;
    node.wakeAt = undefined;
    this.#begin(node);
    this.input(node, { type: "judge" });
    this.#tellCount(node);
  }

  #tellCount(node: Node): void {
    const strangers = this.strangers.get(node.id)?.size ?? 0;
    this.input(node, { type: "members", count: this.nodes.length - this.gone.size - strangers });
  }

  /** Makes a mesh of `count` nodes, numbered from 0, all linked to all. */
  static full(seed: number, count: number, durable = false): World {
    const world = new World(seed);
    world.durable = durable;
    for (let number = 0; number < count; number++) world.add(number);
    for (const a of world.nodes) for (const b of world.nodes) if (a.id < b.id) world.link(a, b);
    return world;
  }

  node(index: number): Node {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  link(a: Node, b: Node): void {
    if (a.links.has(b.id)) return;
    a.links.add(b.id);
    b.links.add(a.id);
    this.input(a, { type: "link-up", peer: b.id });
    this.input(b, { type: "link-up", peer: a.id });
  }

  unlink(a: Node, b: Node): void {
    if (!a.links.delete(b.id)) return;
    b.links.delete(a.id);
    const link = linkName(a.id, b.id);
    this.#epochs.set(link, (this.#epochs.get(link) ?? 0) + 1);
    this.input(a, { type: "link-down", peer: b.id });
    this.input(b, { type: "link-down", peer: a.id });
  }

  put(node: Node, key: string, value: string | Uint8Array, bucket = "app", replicas?: number): number {
    const request = ++this.#request;
    const bytes = typeof value === "string" ? utf8(value) : value;
    this.input(node, { type: "put", request, bucket, key, value: bytes, ...(replicas !== undefined && { replicas }) });
    return request;
  }

  delete(node: Node, key: string, bucket = "app"): number {
    const request = ++this.#request;
    this.input(node, { type: "delete", request, bucket, key });
    return request;
  }

  /** What a node's clock says: set back, it stands still within a life, as the agent's does. */
  clock(node: Node): Instant {
    node.clock = Math.max(node.clock, this.now + node.skewMs);
    return node.clock;
  }

  input(node: Node, input: ReplicationInput): void {
    if (!node.isUp) return;
    for (const output of node.replication.handle(input, this.clock(node))) this.#carry(node, output);
    this.#wake(node);
  }

  #wake(node: Node): void {
    const deadline = earlier(node.replication.deadline(), node.disk?.deadline());
    const at = deadline === undefined ? undefined : Math.max(this.now, deadline - node.skewMs);
    if (at === node.wakeAt) return;
    node.wakeAt = at;
    if (at === undefined) return;
    this.#after(at, () => {
      if (node.wakeAt !== at) return;
      node.wakeAt = undefined;
      const sequence = node.disk?.take(this.clock(node));
      this.input(node, sequence === undefined ? { type: "timeout" } : { type: "stored", sequence });
    });
  }

  #carry(node: Node, output: ReplicationOutput): void {
    node.outputs.push(output);
    switch (output.type) {
      case "send":
        this.#send(node, output.peer, output.bytes);
        return;
      case "route": {
        const to = this.#byId.get(output.to);
        if (to !== undefined) {
          this.#after(this.now + 60, () => this.input(to, { type: "routed", peer: node.id, bytes: output.bytes }));
        }
        return;
      }
      case "broadcast":
        node.seen.add(hex(sha256(output.payload)));
        this.#forward(node, output.payload, undefined);
        return;
      case "verdict": {
        const pending = node.pending.get(output.id);
        node.pending.delete(output.id);
        if (pending !== undefined && output.verdict === "accept") this.#forward(node, pending.payload, pending.from);
        return;
      }
      case "store":
        node.disk?.store(output.sequence, output.rows, this.clock(node));
        return;
      case "sign": {
        const { resume, body } = output;
        const life = node.replication;
        this.#after(this.now, () => {
          if (node.replication !== life) return;
          this.input(node, { type: "signed", signature: fakeSignature(node.id, body), resume });
        });
        return;
      }
      case "verify": {
        const facts = check(output, this.now);
        const { token = "", at = this.now, resume } = output;
        // Nobody is to blame: whoever passed it on may not have heard.
        if (facts !== undefined && this.#isVoid(node, resume.parcel.batch.author, token, at)) return;
        if (facts === undefined) node.outputs.push({ type: "fault", peer: output.from, fault: "malformed" });
        else this.#verified(node, node.replication, output.resume, facts);
        return;
      }
      default:
    }
  }

  #isVoid(node: Node | undefined, author: PeerId, token: string, at: Instant): boolean {
    return [author, token].some((name) => at >= (node?.revoked.get(name) ?? Number.POSITIVE_INFINITY));
  }

  /** A node hears that a member or a token is revoked: from `since` on what it signed counts for nothing. */
  revoke(node: Node, target: string, since: Instant): void {
    node.revoked.set(target, Math.min(since, node.revoked.get(target) ?? since));
    this.input(node, { type: "judge" });
  }

  /** A node has another token. */
  renew(node: Node, token: string): void {
    node.token = token;
    if (node.isUp) this.#begin(node);
  }

  #verified(node: Node, life: Replication, resume: Arrival, token: TokenFacts): void {
    this.#after(this.now + 1, () => {
      if (node.replication === life) this.input(node, { type: "verified", resume, token });
    });
  }

  #send(from: Node, peer: PeerId, bytes: Uint8Array): void {
    const to = this.#byId.get(peer);
    if (to === undefined || !from.links.has(peer)) return;
    this.bytes += bytes.length;
    this.messages++;
    this.largest = Math.max(this.largest, bytes.length);
    this.kinds.set(bytes[1] as number, (this.kinds.get(bytes[1] as number) ?? 0) + bytes.length);
    const link = linkName(from.id, peer);
    const epoch = this.#epochs.get(link) ?? 0;
    const copy = bytes.slice();
    // Constant latency keeps each lane in order.
    this.#after(this.now + 20, () => {
      if ((this.#epochs.get(link) ?? 0) === epoch) this.input(to, { type: "message", peer: from.id, bytes: copy });
    });
  }

  #forward(node: Node, payload: Uint8Array, from: PeerId | undefined): void {
    const id = hex(sha256(payload)) as MessageId;
    for (const peer of node.links) {
      const to = this.#byId.get(peer);
      if (to === undefined || peer === from || fraction(this.random) < this.loss) continue;
      this.#after(this.now + 15 + below(this.random, 10), () => {
        if (to.seen.has(id) || !to.links.has(node.id)) return;
        to.seen.add(id);
        this.broadcastBytes += payload.length;
        to.pending.set(id, { payload, from: node.id });
        this.input(to, { type: "delivered", id, from: node.id, payload: payload.slice() });
      });
    }
  }

  #after(at: Instant, run: () => void): void {
    const event = { at, order: this.#order++, run };
    const events = this.#events;
    let index = events.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, events[parent] as Event)) break;
      events[index] = events[parent] as Event;
      index = parent;
    }
    events[index] = event;
  }

  #pop(): Event | undefined {
    const events = this.#events;
    const top = events[0];
    const last = events.pop();
    if (top === undefined || last === undefined || events.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && isBefore(events[child + 1] as Event, events[child] as Event)) child++;
      if (!isBefore(events[child] as Event, last)) break;
      events[index] = events[child] as Event;
      index = child;
    }
    events[index] = last;
    return top;
  }

  /** Runs for `ms` of virtual time. */
  run(ms: number): void {
    const until = this.now + ms;
    let atOnce = 0;
    while ((this.#events[0]?.at ?? Number.POSITIVE_INFINITY) <= until) {
      const event = this.#pop() as Event;
      atOnce = event.at > this.now ? 0 : atOnce + 1;
      if (atOnce > 200_000) throw new Error("the world stands still: a machine's deadline does not pass");
      this.now = Math.max(this.now, event.at);
      event.run();
    }
    this.now = until;
  }

  /** Runs until all nodes have equal digests; the virtual time that it took, or undefined. */
  settle(limitMs: number, stepMs = 100): number | undefined {
    const from = this.now;
    while (this.now - from < limitMs) {
      this.run(stepMs);
      if (this.isEqual()) return this.now - from;
    }
    return undefined;
  }

  isEqual(): boolean {
    const [first, ...others] = this.nodes.map((node) => JSON.stringify(node.replication.buckets()));
    return others.every((other) => other === first);
  }

  resetCounters(): void {
    this.bytes = 0;
    this.messages = 0;
    this.largest = 0;
    this.broadcastBytes = 0;
    this.kinds.clear();
  }

  /** All faults at all nodes, as text. */
  faults(): string[] {
    return this.nodes.flatMap((node, index) =>
      node.outputs.flatMap((output) => (output.type === "fault" ? [`${index}: ${output.fault}`] : [])),
    );
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function linkName(a: PeerId, b: PeerId): string {
  return a < b ? a + b : b + a;
}
