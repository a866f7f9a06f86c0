import { equalBytes } from "../bytes.ts";
import { earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import type { IdList } from "../reconcile/id-list.ts";
import type { Ids } from "../reconcile/ids.ts";
import { parseMessage } from "../reconcile/messages.ts";
import { type Ending, type ReconcileInput, type ReconcileOutput, Reconciler } from "../reconcile/reconciler.ts";
import { FAULTS } from "./comparing.ts";
import type { Outlet, ReplicationFault } from "./effects.ts";
import { MAX_SURVEYED, MAX_SURVEYS, SURVEYED_PER_SLICE } from "./limits.ts";
import { encodeSurvey, encodeSurveyed } from "./messages.ts";
import type { Peers } from "./peers.ts";
import type { Store } from "./store.ts";
import { idsIn, type VersionId } from "./version-id.ts";
import { packSlots, type Slots, unpackSlots, Versions } from "./versions.ts";

/**
 * Surveys: what does a peer lack of the versions that we hold in some slots of a bucket?
 *
 * Before a hand-off (`handoff.ts`) asks for keys one by one it asks this, at a cost that goes with the difference: a member that comes back
 * holds nearly all that is brought to it, and little else. Where either side holds much that the other does not, as when a few keys are
 * brought to a replica of many, it is found out in one round trip, and to ask for each key costs less. One reconciler (`../reconcile/reconciler.ts`) on either side compares the ids of the
 * slots that the asking side names, whether or not the other takes them for its own. It is apart from the exchanges of `rounds.ts`, of
 * which a replica takes part in one at a time: a member that comes back is surveyed by several at once.
 *
 * What the answering side says has an effect: the asking side removes what the other holds. So it is said only when everything that it
 * was computed from is durable. The answering side draws no conclusion for itself; what it lacks it is asked about next. One survey with
 * each peer either way, and a few in all: a peer costs little, and a few cannot keep the others out for longer than a minute.
 */
export interface SurveyTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly peers: Peers;
  readonly random: Random;
  /** Runs what waits for everything stored so far to be durable. */
  readonly durable: (run: (now: Instant) => void, now: Instant) => void;
  /** A survey of ours is over. */
  readonly surveyed: (peer: PeerId, survey: Survey, now: Instant) => void;
  /** The peer lies, or never ends. */
  readonly faulty: (peer: PeerId, fault: ReplicationFault, now: Instant) => void;
}

/** How a survey has ended: what of ours the peer lacks; that we differ in too much to be told apart; or not at all. */
export type Survey =
  | { readonly type: "lacking"; readonly ids: ReadonlySet<VersionId> }
  | { readonly type: "unknown" }
  | { readonly type: "failed" };

interface Asking {
  readonly bucket: string;
  readonly slots: Uint8Array;
  readonly reconciler: Reconciler;
  readonly lacking: Set<VersionId>;
}

interface Answering {
  readonly bucket: string;
  readonly slots: Uint8Array;
  readonly reconciler: Reconciler;
}

/** The surveys under way, by the peer. */
export class Surveys {
  readonly #tools: SurveyTools;
  readonly #asking = new Map<PeerId, Asking>();
  readonly #answering = new Map<PeerId, Answering>();
  readonly #nothing: Versions;
  #begun = 0;

  constructor(tools: SurveyTools) {
    this.#tools = tools;
    this.#nothing = new Versions(tools.random);
  }

  /** Whether one may begin with this peer. */
  hasRoomFor(peer: PeerId): boolean {
    return !this.#asking.has(peer) && this.#asking.size < MAX_SURVEYS;
  }

  /** Begins one, which ends when it has found `most` differences, either way; `surveyed` follows, maybe at once. */
  begin(peer: PeerId, bucket: string, slots: Slots, most: number, now: Instant): void {
    const options = { after: this.#begun++, maxDifferences: Math.min(most, MAX_SURVEYED) };
    const reconciler = new Reconciler(this.#ids(bucket, slots), this.#tools.random, options);
    this.#asking.set(peer, { bucket, slots: packSlots(slots), reconciler, lacking: new Set() });
    this.#ask(peer, { type: "start", peer }, now);
  }

  #ids(bucket: string, slots: Slots | undefined): Ids {
    return (this.#tools.store.bucket(bucket)?.versions ?? this.#nothing).ids(slots);
  }

  /** Takes what a peer says in a survey of ours. */
  answer(peer: PeerId, bucket: string, bytes: Uint8Array, now: Instant): void {
    if (this.#asking.get(peer)?.bucket === bucket) this.#ask(peer, { type: "message", peer, bytes }, now);
  }

  /** Takes what a peer says in a survey of its own. `isRefused`: what it asks for is answered `busy`. */
  request(peer: PeerId, bucket: string, slots: Uint8Array, bytes: Uint8Array, isRefused: boolean, now: Instant): void {
    const running = this.#answering.get(peer);
    const isRunning = running?.bucket === bucket && equalBytes(running.slots, slots);
    if (isRunning) this.#serve(peer, running, bytes, isRefused, now);
    else if (!isRefused && this.#admits(peer) && parseMessage(bytes)?.type === "open") {
      const size = this.#tools.store.bucket(bucket)?.size ?? 0;
      for (let ids = size; ids > 0; ids -= SURVEYED_PER_SLICE) this.#tools.peers.conduct(peer)?.worked(now);
      const reconciler = new Reconciler(this.#ids(bucket, unpackSlots(slots)), this.#tools.random);
      this.#answering.set(peer, { bucket, slots, reconciler });
      this.#serve(peer, { bucket, slots, reconciler }, bytes, false, now);
    } else {
      const reconciler = new Reconciler(this.#ids(bucket, undefined), this.#tools.random);
      this.#serve(peer, { bucket, slots, reconciler }, bytes, true, now);
    }
  }

  #admits(peer: PeerId): boolean {
    return this.#answering.has(peer) || this.#answering.size < MAX_SURVEYS;
  }

  #serve(peer: PeerId, { bucket, reconciler }: Answering, bytes: Uint8Array, isRefused: boolean, now: Instant): void {
    this.#say(peer, bucket, reconciler.handle({ type: "message", peer, bytes, isRefused }, now), now);
    this.#settle(peer);
  }

  #say(peer: PeerId, bucket: string, outputs: readonly ReconcileOutput[], now: Instant): void {
    const { outlet, peers, durable, faulty } = this.#tools;
    const conduct = peers.conduct(peer);
    for (const output of outputs) {
      if (output.type === "fault") faulty(peer, FAULTS[output.fault], now);
      if (output.type !== "send") continue;
      const bytes = encodeSurveyed(bucket, output.bytes);
      conduct?.answered(bytes.length, now);
      // By then the link may be another one, on which nothing was asked.
      durable(() => {
        if (peers.conduct(peer) === conduct) outlet.send(peer, bytes);
      }, now);
    }
  }

  #settle(peer: PeerId): void {
    if (this.#answering.get(peer)?.reconciler.answers === undefined) this.#answering.delete(peer);
  }

  #ask(peer: PeerId, input: ReconcileInput, now: Instant): void {
    const asking = this.#asking.get(peer);
    if (asking === undefined) return;
    const { bucket, slots, reconciler, lacking } = asking;
    for (const output of reconciler.handle(input, now)) {
      if (output.type === "send") this.#tools.outlet.send(peer, encodeSurvey(bucket, slots, output.bytes));
      else if (output.type === "difference") this.#note(lacking, output.surplus);
      else if (output.type === "fault") this.#tools.faulty(peer, FAULTS[output.fault], now);
      else if (this.#asking.get(peer) === asking) {
        this.#asking.delete(peer);
        this.#tools.surveyed(peer, outcome(output.ending, lacking), now);
      }
    }
  }

  #note(lacking: Set<VersionId>, surplus: IdList): void {
    for (const id of idsIn(surplus)) lacking.add(id);
  }

  /** Nothing is asked of, nor said to, `peer` any more. */
  drop(peer: PeerId, now: Instant): void {
    this.#answering.delete(peer);
    this.#ask(peer, { type: "link-down", peer }, now);
  }

  deadline(): Instant | undefined {
    let next: Instant | undefined;
    for (const { reconciler } of this.#asking.values()) next = earlier(next, reconciler.deadline());
    for (const { reconciler } of this.#answering.values()) next = earlier(next, reconciler.deadline());
    return next;
  }

  /** Does one slice of work on either side, and ends what has taken too long. */
  timeout(now: Instant): void {
    const ours = due(this.#asking, now);
    if (ours !== undefined) {
      const asking = this.#asking.get(ours) as Asking;
      this.#asking.delete(ours);
      this.#asking.set(ours, asking);
      this.#ask(ours, { type: "timeout" }, now);
    }
    const theirs = due(this.#answering, now);
    if (theirs === undefined) return;
    const answering = this.#answering.get(theirs) as Answering;
    this.#answering.delete(theirs);
    this.#answering.set(theirs, answering);
    if (answering.reconciler.worksForPeer) this.#tools.peers.conduct(theirs)?.worked(now);
    this.#say(theirs, answering.bucket, answering.reconciler.handle({ type: "timeout" }, now), now);
    this.#settle(theirs);
  }
}

/** The one whose turn it is. */
function due(surveys: ReadonlyMap<PeerId, { readonly reconciler: Reconciler }>, now: Instant): PeerId | undefined {
  for (const [peer, { reconciler }] of surveys) {
    if ((reconciler.deadline() ?? Number.POSITIVE_INFINITY) <= now) return peer;
  }
  return undefined;
}

function outcome(ending: Ending, ids: ReadonlySet<VersionId>): Survey {
  if (ending === "equal" || ending === "complete") return { type: "lacking", ids };
  return ending === "partial" ? { type: "unknown" } : { type: "failed" };
}
