import { utf8 } from "../../../src/proto/bytes.ts";
import { messageIdOf, Topic } from "../../../src/proto/gossip/messages.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import type { MembershipInput, MembershipOutput } from "../../../src/proto/membership/effects.ts";
import { UNSHOWN_MS } from "../../../src/proto/membership/limits.ts";
import { Membership } from "../../../src/proto/membership/membership.ts";
import { encodePayload } from "../../../src/proto/membership/messages.ts";
import { encodeRecord, type MemberRecord, type RecordDraft, readRecord } from "../../../src/proto/membership/record.ts";
import {
  encodeRefutation,
  encodeSuspicion,
  readRefutation,
  readSuspicion,
} from "../../../src/proto/membership/statements.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { TokenFacts } from "../../../src/proto/signed.ts";

export const NOW: Instant = 1_700_000_000_000;
export const SIGNATURE = new Uint8Array(64).fill(7);
const DAY = 86_400_000;

/** A member's identity by number. */
export function id(number: number): PeerId {
  return peerIdOf(sha256(utf8(`member ${number}`)));
}

export function facts(subject: PeerId, expiresAt = NOW + 30 * DAY): TokenFacts {
  const place = sha256(utf8(`place of ${subject}`)).slice(0, 16);
  const lineage = { family: `first of ${subject}`, generation: 3, refreshKey: undefined, issuedAt: NOW };
  return { subject, expiresAt, scopes: [], place, id: `fourth of ${subject}`, lineage };
}

export const DRAFT: RecordDraft = {
  boot: 1,
  incarnation: 0,
  status: "alive",
  name: "node",
  labels: [["zone", "a"]],
  protocols: { least: 1, most: 2 },
  exchangeKey: new Uint8Array(32).fill(9),
  capacity: 100,
  token: "a.b.c",
};

export function record(subject: PeerId, draft: Partial<RecordDraft> = {}): MemberRecord {
  return readRecord(encodeRecord(subject, { ...DRAFT, ...draft }), SIGNATURE) as MemberRecord;
}

export function recordPayload(subject: PeerId, draft: Partial<RecordDraft> = {}): Uint8Array {
  return encodePayload("record", record(subject, draft));
}

export function suspicion(accuser: PeerId, accused: PeerId, { id: fill = 1, boot = 1, incarnation = 0 } = {}) {
  const body = encodeSuspicion(new Uint8Array(16).fill(fill), accuser, accused, boot, incarnation);
  return readSuspicion(body, SIGNATURE) as NonNullable<ReturnType<typeof readSuspicion>>;
}

export function refutation(accused: PeerId, { id: fill = 1, boot = 1, incarnation = 0 } = {}) {
  const body = encodeRefutation(new Uint8Array(16).fill(fill), accused, boot, incarnation);
  return readRefutation(body, SIGNATURE) as NonNullable<ReturnType<typeof readRefutation>>;
}

export interface AgentOptions {
  readonly members?: number;
  readonly routing?: boolean;
  readonly self?: number;
}

/** One membership machine whose signatures succeed and whose checks succeed unless told otherwise. */
export class Agent {
  readonly machine: Membership;
  readonly self: PeerId;
  now: Instant = NOW;
  /** Whether a check succeeds. */
  good = true;

  constructor({ self = 0, members = 0, routing = false }: AgentOptions = {}) {
    this.self = id(self);
    const { name, labels, protocols, exchangeKey, capacity } = DRAFT;
    this.machine = new Membership(
      {
        self: this.self,
        boot: 1,
        profile: { name, labels, protocols, exchangeKey, capacity },
        token: { token: "a.b.c", facts: facts(this.self) },
        random: new SeededRandom(1),
        routing,
      },
      this.now,
    );
    this.do({ type: "timeout" });
    for (let number = 1; number <= members; number++) this.deliver(recordPayload(id(number)), id(1));
  }

  /** Applies an input, answers signatures and checks, and returns all other outputs. */
  do(input: MembershipInput): MembershipOutput[] {
    const rest: MembershipOutput[] = [];
    for (const output of this.machine.handle(input, this.now)) {
      if (output.type === "sign")
        rest.push(...this.do({ type: "signed", signature: SIGNATURE, resume: output.resume }));
      else if (output.type !== "verify") rest.push(output);
      else if (this.good) {
        const { resume, token, statements } = output;
        const checked = token === undefined ? {} : { token: facts(statements[0]?.signer as PeerId, expiryOf(token)) };
        rest.push(...this.do({ type: "verified", resume, ...checked }));
      }
    }
    return rest;
  }

  deliver(bytes: Uint8Array, from: PeerId = id(1)): MembershipOutput[] {
    return this.do({ type: "delivered", from, id: messageIdOf(Topic.membership, bytes), bytes });
  }

  /** Links that have been there for long enough to have shown themselves. */
  link(...peers: PeerId[]): MembershipOutput[] {
    const { now } = this;
    this.now = now - UNSHOWN_MS;
    const outputs = this.linkAnew(...peers);
    this.now = now;
    return outputs;
  }

  /** Links that have just been made. */
  linkAnew(...peers: PeerId[]): MembershipOutput[] {
    return peers.flatMap((peer) => this.do({ type: "link-up", peer, rttMs: 4 }));
  }

  /** Lets time pass, with a time-out whenever the machine wants one. */
  pass(ms: number): MembershipOutput[] {
    const until = this.now + ms;
    const out: MembershipOutput[] = [];
    for (let at = this.machine.deadline(); at !== undefined && at <= until; at = this.machine.deadline()) {
      this.now = Math.max(this.now, at);
      out.push(...this.do({ type: "timeout" }));
    }
    this.now = until;
    return out;
  }

  state(peer: PeerId): string | undefined {
    return this.machine.member(peer)?.state;
  }
}

/** Tokens that are numbers expire then. */
function expiryOf(token: string): number | undefined {
  const at = Number(token);
  return Number.isNaN(at) ? undefined : at;
}

export function of<Type extends MembershipOutput["type"]>(
  outputs: readonly MembershipOutput[],
  type: Type,
): Extract<MembershipOutput, { type: Type }>[] {
  return outputs.filter((output): output is Extract<MembershipOutput, { type: Type }> => output.type === type);
}

/** Events in short. */
export function events(outputs: readonly MembershipOutput[]): string[] {
  return of(outputs, "event").map(({ event, previous, cause }) => `${previous ?? "unknown"} -> ${event} (${cause})`);
}

export function faults(outputs: readonly MembershipOutput[]): string[] {
  return of(outputs, "fault").map(({ fault }) => fault);
}
