import { hex } from "../bytes.ts";
import { Deadlines } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { below, type Random } from "../random.ts";
import type { Copies } from "./copies.ts";
import type { ConditionalWrite, Outlet, ReplicationOutput } from "./effects.ts";
import { digestOf, type Entry, encodeKey, NO_VALUE, pathOf } from "./entry.ts";
import type { Clock, HybridClock } from "./hlc.ts";
import type { Journal } from "./journal.ts";
import { CONDITION_RETRY_MS, DEFAULT_WRITE_TIMEOUT_MS, MAX_CONDITIONS, MAX_WRITE_TIMEOUT_MS } from "./limits.ts";
import { encodeRelease, encodeReserve, type ReservationState, type ReservationWish } from "./messages.ts";
import type { Peers } from "./peers.ts";
import type { Requests } from "./requests.ts";
import { Reservations } from "./reservations.ts";
import type { Store } from "./store.ts";
import type { Writes } from "./writes.ts";

/**
 * Conditional writes: an author writes a key only if its version is the one that it names.
 *
 * 1. *Compare.* What is stored here, and where that is not the expected version, what a majority of the key's replicas has.
 *    Neither is the expected one: a conflict, which names the version found. A replica that was away (`service.ts`) may hold what has been deleted: it
 *    compares nothing before it has followed another, and is of no majority until then.
 * 2. *Reserve* (`reservations.ts`). Every replica is asked to keep the key free for the write, whose clock is fixed by now. Less than a
 *    majority: what was granted is given back, and after a short while all of it begins anew, until the time is up.
 * 3. *Write*, and wait until a majority has stored it while the key was still reserved: acknowledged. Else the outcome is unknown, and said to be.
 *
 * While all who write a key conditionally mean the same replicas, an acknowledged conditional write is replaced by no other that had not
 * seen it: both had a majority, so some replica granted both; it granted the second only after it had stored the first, or the first
 * again only with a later clock. Partitions, crashes and clocks that jump cost availability, not this. It does not hold for writes without a
 * condition, which ask nobody, nor when the replicas themselves change: two views have two majorities, both may
 * acknowledge, and the later clock wins. It is no lock, and no consensus.
 */

export interface ConditionTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly clock: HybridClock;
  readonly requests: Requests;
  readonly copies: Copies;
  readonly journal: Journal;
  readonly writes: Writes;
  /** What a member's token grants. */
  readonly scopesOf: (member: PeerId) => readonly string[] | undefined;
  readonly random: Random;
  readonly peers: Peers;
  /** How many members there are. */
  readonly members: () => number;
}

/** One time of asking for a majority. */
interface Round {
  readonly wish: ReservationWish;
  readonly replicas: number;
  readonly quorum: number;
  /** Whom we have asked under which number. */
  readonly asked: Map<PeerId, number>;
  readonly granted: Set<PeerId>;
  readonly refused: Set<PeerId>;
  readonly kept: Set<PeerId>;
}

type Stage =
  | { readonly type: "pausing" | "reading" }
  | { readonly type: "reserving"; readonly round: Round }
  | { readonly type: "writing"; readonly round: Round };

interface Attempt {
  readonly write: ConditionalWrite;
  readonly keyBytes: Uint8Array;
  readonly value: Uint8Array;
  readonly until: Instant;
  stage: Stage;
  /** Of what was written, as far as it is known. */
  version: string | undefined;
}

type Answer = Extract<
  ReplicationOutput,
  { readonly type: "read" | "unreadable" | "refused" | "acknowledged" | "unacknowledged" }
>;

/** The conditional writes under way. Reads and writes within them go by the negative of their request's number. */
export class Conditions {
  /** What others, and we, have reserved here. */
  readonly reservations: Reservations;
  readonly #tools: ConditionTools;
  readonly #attempts = new Map<number, Attempt>();
  /** What is being written, by its clock. */
  readonly #writing = new Map<Clock, Attempt>();
  readonly #retries = new Deadlines<number>();
  readonly #ends = new Deadlines<number>();

  constructor(tools: ConditionTools) {
    this.#tools = tools;
    const { outlet, copies, requests } = tools;
    const viewOf = (bucket: string, path: number): Uint8Array => copies.viewOf(bucket, path);
    this.reservations = new Reservations({ ...tools, viewOf }, (seq, state, clock, now) => {
      const asked = state === "granted" ? requests.renew(outlet.self, seq, now) : requests.settle(outlet.self, seq);
      if (typeof asked === "string" || asked.type !== "reserve") return;
      this.answered(asked.request, outlet.self, state, clock, now);
    });
  }

  /** Takes a conditional write or refuses it. */
  begin(write: ConditionalWrite, now: Instant): void {
    const { outlet, writes, members } = this.#tools;
    const refusal = this.#attempts.size >= MAX_CONDITIONS ? "quota" : writes.refusalOf(write, members(), now);
    const keyBytes = encodeKey(write.key);
    if (refusal !== undefined || keyBytes === undefined) {
      outlet.emit({ type: "refused", request: write.request, reason: refusal ?? "bad-key" });
      return;
    }
    const asked = write.timeoutMs ?? DEFAULT_WRITE_TIMEOUT_MS;
    const until = now + (asked >= 0 ? Math.min(MAX_WRITE_TIMEOUT_MS, asked) : 0);
    const value = write.type === "put" ? new Uint8Array(write.value) : NO_VALUE;
    const attempt: Attempt = { write, keyBytes, value, until, stage: { type: "pausing" }, version: undefined };
    this.#attempts.set(write.request, attempt);
    this.#ends.set(write.request, until);
    this.#compare(attempt, now);
  }

  #compare(attempt: Attempt, now: Instant): void {
    const { store, copies } = this.#tools;
    const { request, bucket, key } = attempt.write;
    if (copies.isAway) this.#pause(attempt, now);
    else if (this.#isExpected(attempt, store.find(bucket, key))) this.#reserve(attempt, now);
    else {
      attempt.stage = { type: "reading" };
      copies.read(-request, bucket, pathOf(attempt.keyBytes), key, true, now);
    }
  }

  #isExpected({ write }: Attempt, entry: Entry | undefined): boolean {
    const found = entry === undefined || entry.deleted ? null : hex(digestOf(entry));
    return found === write.ifVersion;
  }

  /** Whether an output concerns a read or a write within a conditional one: then it is for nobody else. */
  hears(output: ReplicationOutput, now: Instant): boolean {
    if (!("request" in output) || output.request >= 0) return false;
    const attempt = this.#attempts.get(-output.request);
    if (attempt !== undefined) this.#heard(attempt, output as Answer, now);
    return true;
  }

  #heard(attempt: Attempt, output: Answer, now: Instant): void {
    const { outlet, store } = this.#tools;
    const { request, bucket, key } = attempt.write;
    if (output.type === "refused") {
      this.#end(attempt);
      outlet.emit({ type: "refused", request, reason: output.reason });
    } else if (output.type === "unreadable") this.#pause(attempt, now);
    else if (output.type === "read" && attempt.stage.type === "reading") {
      if (this.#isExpected(attempt, store.find(bucket, key))) this.#reserve(attempt, now);
      else {
        this.#end(attempt);
        outlet.emit({ type: "conflict", request, found: output.entry?.version ?? null });
      }
    }
  }

  #reserve(attempt: Attempt, now: Instant): void {
    const { outlet, store, clock, copies, requests } = this.#tools;
    const { request, bucket, key } = attempt.write;
    const path = pathOf(attempt.keyBytes);
    const replicas = copies.deciders(bucket, path);
    if (replicas === undefined) {
      this.#end(attempt);
      outlet.emit({ type: "refused", request, reason: "too-many-replicas" });
      return;
    }
    const entry = store.find(bucket, key);
    const basis = entry && { clock: entry.clock, digest: digestOf(entry).slice(0, 8) };
    const wish = { view: copies.viewOf(bucket, path), bucket, key, basis, clock: clock.tick(now) };
    const round: Round = {
      wish,
      replicas: replicas.length,
      quorum: Math.floor(replicas.length / 2) + 1,
      asked: new Map(),
      granted: new Set(),
      refused: new Set(),
      kept: new Set(),
    };
    attempt.stage = { type: "reserving", round };
    for (const peer of replicas) {
      if (peer !== outlet.self && !outlet.isLinked(peer)) {
        outlet.emit({ type: "reach", peer });
        continue;
      }
      const seq = requests.issue(peer, { type: "reserve", request }, now);
      round.asked.set(peer, seq);
      if (peer !== outlet.self) outlet.send(peer, encodeReserve(seq, wish));
    }
    const own = round.asked.get(outlet.self);
    if (round.asked.size < round.quorum) this.#pause(attempt, now);
    else if (own !== undefined) this.reservations.reserve(outlet.self, own, wish, now);
  }

  /** What a replica says of our reservation. */
  answered(request: number, peer: PeerId, state: ReservationState, clock: Clock, now: Instant): void {
    const attempt = this.#attempts.get(request);
    if (attempt === undefined || !("round" in attempt.stage)) return;
    const { round } = attempt.stage;
    if (state === "kept") this.#kept(attempt, round, peer);
    else if (state === "granted") {
      round.granted.add(peer);
      if (attempt.stage.type === "reserving" && round.granted.size >= round.quorum) this.#write(attempt, round, now);
    } else {
      // A clock that is said, and signed by nobody, moves ours by no more than any write could.
      if (state === "behind") this.#tools.clock.observe(clock, now);
      this.lost(request, peer, now);
    }
  }

  /** A replica refuses, does not answer, or has gone. */
  lost(request: number, peer: PeerId, now: Instant): void {
    const attempt = this.#attempts.get(request);
    if (attempt?.stage.type !== "reserving") return;
    const { round } = attempt.stage;
    round.refused.add(peer);
    if (round.asked.size - round.refused.size < round.quorum) this.#pause(attempt, now);
  }

  #write(attempt: Attempt, round: Round, now: Instant): void {
    const { writes, peers, members } = this.#tools;
    const { write, until } = attempt;
    attempt.stage = { type: "writing", round };
    this.#writing.set(round.wish.clock, attempt);
    writes.takeAt(
      { ...write, request: -write.request, replicas: 1, timeoutMs: until - now },
      round.wish.clock,
      peers.size,
      members(),
      now,
    );
  }

  /** A version is stored here. */
  stored(entry: Entry, now: Instant): void {
    this.reservations.stored(entry, now);
    const attempt = this.#writing.get(entry.clock);
    if (attempt !== undefined && entry.batch.author === this.#tools.outlet.self) attempt.version = hex(digestOf(entry));
  }

  #kept(attempt: Attempt, round: Round, peer: PeerId): void {
    const { replicas: asked, request } = attempt.write;
    round.kept.add(peer);
    const wished = asked === "all" ? round.replicas : typeof asked === "number" ? asked : 0;
    if (attempt.version === undefined) return;
    if (round.kept.size < Math.max(round.quorum, Math.min(wished, round.replicas))) return;
    this.#end(attempt);
    const { version } = attempt;
    this.#tools.outlet.emit({ type: "acknowledged", request, replicas: round.kept.size, version });
  }

  /** Gives back what was reserved, and begins anew after a while. */
  #pause(attempt: Attempt, now: Instant): void {
    this.#release(attempt);
    attempt.stage = { type: "pausing" };
    const pauseMs = CONDITION_RETRY_MS + below(this.#tools.random, 2 * CONDITION_RETRY_MS);
    this.#retries.set(attempt.write.request, now + pauseMs);
  }

  #release({ stage, write }: Attempt): void {
    if (!("round" in stage)) return;
    const { outlet, requests } = this.#tools;
    const { bucket, key } = write;
    for (const [peer, seq] of stage.round.asked) {
      if (stage.round.kept.has(peer)) continue;
      if (peer === outlet.self) this.reservations.release(peer, seq, bucket, key);
      else if (outlet.isLinked(peer)) outlet.send(peer, encodeRelease(seq, bucket, key));
      requests.settle(peer, seq);
    }
  }

  #end(attempt: Attempt): void {
    const { request } = attempt.write;
    this.#release(attempt);
    if (attempt.stage.type === "writing") this.#writing.delete(attempt.stage.round.wish.clock);
    this.#attempts.delete(request);
    this.#retries.clear(request);
    this.#ends.clear(request);
  }

  deadline(): Instant | undefined {
    const retry = this.#retries.next();
    const end = this.#ends.next();
    return retry === undefined || end === undefined ? (retry ?? end) : Math.min(retry, end);
  }

  timeout(now: Instant): void {
    const { outlet } = this.#tools;
    for (let request = this.#ends.take(now); request !== undefined; request = this.#ends.take(now)) {
      const attempt = this.#attempts.get(request);
      if (attempt === undefined) continue;
      this.#end(attempt);
      const { stage, version } = attempt;
      if (stage.type !== "writing") outlet.emit({ type: "refused", request, reason: "no-majority" });
      else {
        const replicas = stage.round.kept.size;
        outlet.emit({ type: "unacknowledged", request, reason: "undecided", replicas, version: version ?? "" });
      }
    }
    for (let request = this.#retries.take(now); request !== undefined; request = this.#retries.take(now)) {
      const attempt = this.#attempts.get(request);
      if (attempt?.stage.type === "pausing") this.#compare(attempt, now);
    }
  }
}
