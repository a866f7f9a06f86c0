import { concat } from "../../src/proto/bytes.ts";
import {
  BroadcastKind,
  encodePayload as encodeBroadcast,
  FIRST_BROADCAST_KIND,
  Topic,
} from "../../src/proto/gossip/messages.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { encodePayload } from "../../src/proto/membership/messages.ts";
import { decodeProbeFrame, encodeProbe, encodeReport } from "../../src/proto/membership/probe-frames.ts";
import { encodeRecord, type MemberRecord, readRecord } from "../../src/proto/membership/record.ts";
import { CHARGE_ID_BYTES, encodeSuspicion, readSuspicion } from "../../src/proto/membership/statements.ts";
import type { Mesh } from "../../src/proto/mesh.ts";
import { type PeerId, peerIdOf } from "../../src/proto/peer-id.ts";
import { below, type Random, randomBytes } from "../../src/proto/random.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { type MeshCommand, type MeshEvent, MeshNode, type MeshNodeOptions } from "./mesh-node.ts";
import type { MessageInput, NodeContext, SimInput, SimNode, SimOutput } from "./node.ts";

/** What a hostile member does, beside what keeps it in the mesh. */
export type Malice =
  /** Accuses everybody, over and over. */
  | "accuser"
  /** Sends again what it has heard: records, accusations, answers, envelopes. */
  | "replayer"
  /** Signs records of members that do not exist. */
  | "inventor"
  /** Sends hundreds of messages a second over each link: noise, probes, and broadcasts of its own. */
  | "flooder"
  /** Hands nothing on: no broadcast, no graft, no envelope. */
  | "dropper"
  /** In league with others: see {@link Plot}. */
  | "colluder";

/**
 * What hostile members have agreed upon. Colluders accuse the same members under the same ids, find nobody whom they want gone and
 * everybody who is dead, keep to themselves what they should hand on, and repeat what the dead once signed.
 */
export class Plot {
  /** Until then all of them behave. */
  begun = false;
  /** Members to be evicted. */
  readonly victims = new Set<PeerId>();
  /** Members that are dead and shall seem alive. */
  readonly undead = new Set<PeerId>();
  readonly #random: Random;
  readonly #charges = new Map<string, Uint8Array>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** The id of the charge against `victim` in this round: the same for all, so that they confirm each other. */
  chargeOf(victim: PeerId, round: number): Uint8Array {
    const key = `${round} ${victim}`;
    const id = this.#charges.get(key) ?? randomBytes(this.#random, CHARGE_ID_BYTES);
    this.#charges.set(key, id);
    return id;
  }
}

const ACT_EVERY_MS = 200;
/** A colluder's accusations of all its victims are repeated this often. */
const ROUND_MS = 5_000;
const ACCUSED_AT_ONCE = 10;
const INVENTED_AT_ONCE = 4;
/** 200 a second over each link. */
const FLOOD_AT_ONCE = 40;
const REPLAYED_AT_ONCE = 10;
const KEPT_FOR_REPLAY = 2_000;

/** A {@link MeshNode} that is not what it seems: everything goes through it, some of it is left out, and more is added. */
export class HostileNode implements SimNode<MeshCommand, MeshEvent> {
  readonly #node: MeshNode;
  readonly #self: PeerId;
  readonly #random: Random;
  readonly #malice: Malice;
  readonly #plot: Plot;
  readonly #links = new Set<PeerId>();
  /** What a replayer or a colluder may send again. */
  readonly #heard: MessageInput[] = [];
  #actAt: Instant;
  #next = 0;
  #round = -1;

  constructor(context: NodeContext, options: MeshNodeOptions, malice: Malice, plot: Plot) {
    this.#node = new MeshNode(context, options);
    this.#self = context.id;
    this.#random = context.random.fork("malice");
    this.#malice = malice;
    this.#plot = plot;
    this.#actAt = context.now + ACT_EVERY_MS;
  }

  handle(input: SimInput | MeshCommand, now: Instant): readonly (SimOutput | MeshEvent)[] {
    if (input.type === "signed" && isOurs(input.resume)) return this.#signed(input.resume, input.signature);
    if (input.type === "link-up") this.#links.add(input.peer);
    else if (input.type === "link-down") this.#links.delete(input.peer);
    else if (input.type === "message") {
      const lie = this.#lie(input);
      if (lie !== undefined) return lie;
      this.#keep(input);
    }
    const out: (SimOutput | MeshEvent)[] = [];
    const due = this.#node.deadline() ?? Number.POSITIVE_INFINITY;
    if (input.type !== "timeout" || due <= now) {
      for (const output of this.#node.handle(input, now)) if (!this.#isWithheld(output)) out.push(output);
    }
    if (input.type === "timeout" && this.#actAt <= now) {
      this.#actAt = now + ACT_EVERY_MS;
      if (this.#plot.begun) this.#act(now, out);
    }
    return out;
  }

  get mesh(): Mesh {
    return this.#node.mesh;
  }

  deadline(): Instant | undefined {
    return Math.min(this.#node.deadline() ?? this.#actAt, this.#actAt);
  }

  /** Probes on behalf of others: who is to go is not found, who is dead is. */
  #lie({ peer, lane, bytes }: MessageInput): SimOutput[] | undefined {
    if (!this.#plot.begun || this.#malice !== "colluder" || lane !== Lane.probe) return undefined;
    const frame = decodeProbeFrame(bytes);
    if (frame?.type !== "request") return undefined;
    const isUndead = this.#plot.undead.has(frame.target);
    if (!isUndead && !this.#plot.victims.has(frame.target)) return undefined;
    return [{ type: "send", peer, lane, bytes: encodeReport(frame.sequence, isUndead ? "reached" : "silent") }];
  }

  #isWithheld(output: SimOutput | MeshEvent): boolean {
    if (!this.#plot.begun || output.type !== "send") return false;
    if (this.#malice !== "dropper" && this.#malice !== "colluder") return false;
    if (output.lane === Lane.signal) return true;
    return output.lane === Lane.gossip && (output.bytes[1] ?? 0) >= FIRST_BROADCAST_KIND;
  }

  #keep(message: MessageInput): void {
    if (this.#malice !== "replayer" && this.#malice !== "colluder") return;
    if (message.lane === Lane.data) return;
    if (this.#heard.length < KEPT_FOR_REPLAY) this.#heard.push(message);
    else this.#heard[below(this.#random, KEPT_FOR_REPLAY)] = message;
  }

  #act(now: Instant, out: (SimOutput | MeshEvent)[]): void {
    switch (this.#malice) {
      case "accuser":
        this.#accuse(ACCUSED_AT_ONCE, out);
        break;
      case "replayer":
        this.#replay(out);
        break;
      case "inventor":
        for (let count = 0; count < INVENTED_AT_ONCE; count++) this.#invent(now, out);
        break;
      case "flooder":
        for (const peer of this.#links) this.#flood(peer, out);
        break;
      case "colluder":
        this.#collude(now, out);
        break;
      case "dropper":
        break;
    }
  }

  /** The next few members in the list are accused, each under an id of its own. */
  #accuse(count: number, out: (SimOutput | MeshEvent)[]): void {
    const records = this.#others();
    for (let done = 0; done < count && done < records.length; done++) {
      const record = records[this.#next++ % records.length] as MemberRecord;
      out.push(this.#suspicion(record, randomBytes(this.#random, CHARGE_ID_BYTES)));
    }
  }

  #collude(now: Instant, out: (SimOutput | MeshEvent)[]): void {
    const round = Math.floor(now / ROUND_MS);
    if (round === this.#round) return;
    this.#round = round;
    for (const victim of this.#plot.victims) {
      const record = this.#node.mesh.membership.member(victim)?.record;
      if (record !== undefined) out.push(this.#suspicion(record, this.#plot.chargeOf(victim, round)));
    }
    // The last words of the dead.
    for (const dead of this.#plot.undead) {
      const record = this.#node.mesh.membership.record(dead);
      if (record !== undefined) this.#broadcast(record, out);
    }
    this.#replay(out);
  }

  #suspicion({ id, boot, incarnation }: MemberRecord, charge: Uint8Array): SimOutput {
    const body = encodeSuspicion(charge, this.#self, id, boot, incarnation);
    return { type: "sign", label: "starling/suspicion/1", body, resume: { malice: "suspicion", body } };
  }

  #replay(out: (SimOutput | MeshEvent)[]): void {
    for (let count = 0; count < REPLAYED_AT_ONCE && this.#heard.length > 0; count++) {
      const { lane, bytes } = this.#heard[below(this.#random, this.#heard.length)] as MessageInput;
      for (const peer of this.#links) out.push({ type: "send", peer, lane, bytes });
    }
  }

  /** A record under another name: with our own signature, for we have no other, and our own token or none. */
  #invent(now: Instant, out: (SimOutput | MeshEvent)[]): void {
    const own = this.#node.mesh.membership.member(this.#self)?.record;
    if (own === undefined) return;
    const { name, labels, protocols, exchangeKey, capacity } = own;
    const token = below(this.#random, 2) === 0 ? own.token : `${own.token}x`;
    const draft = {
      name,
      labels,
      protocols,
      exchangeKey,
      capacity,
      boot: 1,
      incarnation: Math.floor(now) % 1_000,
      token,
    };
    const body = encodeRecord(peerIdOf(randomBytes(this.#random, 32)), { ...draft, status: "alive" });
    out.push({ type: "sign", label: "starling/record/1", body, resume: { malice: "record", body } });
  }

  #flood(peer: PeerId, out: (SimOutput | MeshEvent)[]): void {
    const lanes = [Lane.probe, Lane.gossip, Lane.signal, Lane.data];
    for (let count = 0; count < FLOOD_AT_ONCE; count++) {
      const noise = randomBytes(this.#random, 4 + below(this.#random, 60));
      const lane = lanes[count & 3] as Lane;
      let bytes = noise;
      if (lane === Lane.probe) bytes = encodeProbe("probe", count);
      else if (lane === Lane.gossip && (count & 4) === 0) bytes = encodeBroadcast(0, 1, Topic.application, noise);
      else if (lane === Lane.gossip) bytes = concat(Uint8Array.of(0x92, BroadcastKind.announce), noise);
      out.push({ type: "send", peer, lane, bytes });
    }
  }

  #signed(resume: Ours, signature: Uint8Array): SimOutput[] {
    const out: SimOutput[] = [];
    if (resume.malice === "suspicion") {
      const suspicion = readSuspicion(resume.body, signature);
      if (suspicion !== undefined) this.#broadcast(encodePayload("suspicion", suspicion), out);
    } else {
      const record = readRecord(resume.body, signature);
      if (record !== undefined) this.#broadcast(encodePayload("record", record), out);
    }
    return out;
  }

  #broadcast(payload: Uint8Array, out: (SimOutput | MeshEvent)[]): void {
    const bytes = encodeBroadcast(0, 1, Topic.membership, payload);
    for (const peer of this.#links) out.push({ type: "send", peer, lane: Lane.gossip, bytes });
  }

  #others(): MemberRecord[] {
    const records: MemberRecord[] = [];
    for (const { record, state } of this.#node.mesh.membership.members()) {
      if (state === "alive" && record.id !== this.#self) records.push(record);
    }
    return records;
  }
}

/** What comes back with a signature of ours. */
interface Ours {
  readonly malice: "suspicion" | "record";
  readonly body: Uint8Array;
}

function isOurs(resume: unknown): resume is Ours {
  return typeof resume === "object" && resume !== null && "malice" in resume;
}
