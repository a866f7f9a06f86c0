import { earlier } from "../deadlines.ts";
import type { Instant, Machine } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { type Random, randomBytes } from "../random.ts";
import { Answering, isEqual } from "./answering.ts";
import { Asking } from "./asking.ts";
import type { Course, Outlet, ReconcileFault } from "./effects.ts";
import type { IdList } from "./id-list.ts";
import type { Ids } from "./ids.ts";
import { MAX_EXCHANGE_MS, SILENCE_MS } from "./limits.ts";
import { type Answer, encodeMessage, parseMessage, type Request } from "./messages.ts";
import { SALT_BYTES } from "./mixing.ts";

/**
 * Set reconciliation between linked peers: what do I lack of a peer's ids, and the peer of mine, at a cost that goes
 * with the difference and not with the sets.
 *
 * A set takes part in one exchange on either side at a time; others are told `busy`. With whom to exchange, and when,
 * is the caller's, and so is what to do about a difference: nothing is known here but ids. A machine that has more to do
 * than fits into a few milliseconds returns, and asks to be called again at once by its deadline.
 *
 * It trusts nothing that a peer says: what the peer claims to have is only a claim until it is delivered, what contradicts
 * itself or never ends is a fault, and all memory is bounded by `limits.ts`. The method is in the heads of `sketch.ts`,
 * `id-set.ts` (what an author of crafted ids can do) and `estimate.ts`.
 */

/** What happens to the machine. Every other input is preceded by what it is about: an exchange needs a link. */
export type ReconcileInput =
  | { readonly type: "start"; readonly peer: PeerId }
  /** `isRefused`: what the peer asks for is answered `busy`. */
  | { readonly type: "message"; readonly peer: PeerId; readonly bytes: Uint8Array; readonly isRefused?: boolean }
  /** Whether our exchange is to ask for nothing further for now. */
  | { readonly type: "hold"; readonly isHeld: boolean }
  | { readonly type: "link-down"; readonly peer: PeerId }
  | { readonly type: "timeout" };

/**
 * How an exchange of ours has ended: `equal`, nothing to do; `complete`, everything has been told; `partial`, the bound
 * on differences has left something out, or the peer has fallen silent; `busy`, nothing has been compared.
 */
export type Ending = "equal" | "complete" | "partial" | "busy" | "failed";

/** What the machine wants done. */
export type ReconcileOutput =
  | { readonly type: "send"; readonly peer: PeerId; readonly bytes: Uint8Array }
  /** Ids that the peer has and we lack, and the reverse; the peer is told the same. Several for one exchange. */
  | { readonly type: "difference"; readonly peer: PeerId; readonly missing: IdList; readonly surplus: IdList }
  /** An exchange that we have started is over. */
  | { readonly type: "finished"; readonly peer: PeerId; readonly ending: Ending }
  /** The peer has broken the rules; what there was with it is over. */
  | { readonly type: "fault"; readonly peer: PeerId; readonly fault: ReconcileFault };

/** Settings of a reconciler. */
export interface ReconcileOptions {
  /**
   * Differences after which an exchange of ours stops, at once where the sizes alone tell that there are as many; what is left is found by the
   * next one. Default: no bound.
   */
  readonly maxDifferences?: number;
  /**
   * Exchanges of ours are numbered from here on. Whoever makes several reconcilers for one set, one after the other, so
   * tells late answers to an earlier one apart. Default 0.
   */
  readonly after?: number;
}

/** An exchange under way. */
interface Running<Side> {
  readonly peer: PeerId;
  readonly side: Side;
  readonly since: Instant;
  until: Instant;
}

/** The exchanges of one set. */
export class Reconciler implements Machine<ReconcileInput, ReconcileOutput> {
  readonly #set: Ids;
  readonly #random: Random;
  readonly #most: number;
  #outputs: ReconcileOutput[] = [];
  #asking: Running<Asking> | undefined;
  #answering: Running<Answering> | undefined;
  #seq: number;
  #now: Instant = 0;

  /** `set` is the caller's and may change between inputs. */
  constructor(set: Ids, random: Random, options: ReconcileOptions = {}) {
    this.#set = set;
    this.#random = random;
    this.#most = options.maxDifferences ?? Number.POSITIVE_INFINITY;
    this.#seq = options.after ?? 0;
  }

  /** Whether an exchange that we have started is under way. */
  get isAsking(): boolean {
    return this.#asking !== undefined;
  }

  /** Whom we answer. */
  get answers(): PeerId | undefined {
    return this.#answering?.peer;
  }

  /** Whether a slice of work is due for whom we answer. */
  get worksForPeer(): boolean {
    return this.#answering?.side.isWorking ?? false;
  }

  handle(input: ReconcileInput, now: Instant): readonly ReconcileOutput[] {
    this.#now = now;
    switch (input.type) {
      case "start":
        this.#start(input.peer);
        break;
      case "message":
        this.#message(input.peer, input.bytes, input.isRefused ?? false);
        break;
      case "hold":
        if (this.#asking !== undefined) this.#proceed(this.#asking, this.#asking.side.hold(input.isHeld));
        break;
      case "link-down":
        if (this.#asking?.peer === input.peer) this.#finish("failed");
        if (this.#answering?.peer === input.peer) this.#answering = undefined;
        break;
      case "timeout":
        this.#expire();
        this.#work();
    }
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  deadline(): Instant | undefined {
    if (this.#asking?.side.isWorking || this.#answering?.side.isWorking) return this.#now;
    return earlier(this.#asking?.until, this.#answering?.until);
  }

  #outlet(peer: PeerId): Outlet {
    return {
      send: (message) => this.#send(peer, message),
      difference: (missing, surplus) => {
        this.#outputs.push({ type: "difference", peer, missing, surplus });
      },
    };
  }

  #send(peer: PeerId, message: Request | Answer): void {
    this.#outputs.push({ type: "send", peer, bytes: encodeMessage(message) });
  }

  #start(peer: PeerId): void {
    if (this.#asking !== undefined) {
      this.#outputs.push({ type: "finished", peer, ending: "busy" });
      return;
    }
    this.#seq = this.#seq === 0xffffffff ? 1 : this.#seq + 1;
    const salt = randomBytes(this.#random, SALT_BYTES);
    const side = new Asking(this.#set, this.#seq, salt, this.#most, this.#outlet(peer));
    this.#asking = { peer, side, since: this.#now, until: this.#now + SILENCE_MS };
  }

  #message(peer: PeerId, bytes: Uint8Array, isRefused: boolean): void {
    const message = parseMessage(bytes);
    if (message === undefined) {
      this.#fault(peer, "malformed");
      return;
    }
    switch (message.type) {
      case "equal":
      case "busy":
      case "differ":
      case "more":
      case "found":
      case "listing":
        this.#answer(peer, message);
        return;
      default:
        if (isRefused) this.#refuse(peer, message);
        else this.#request(peer, message);
    }
  }

  #answer(peer: PeerId, answer: Answer): void {
    const asking = this.#asking;
    if (asking?.peer !== peer || asking.side.seq !== answer.seq) {
      // To an exchange that we have given up, or to none.
      if (answer.seq > this.#seq || answer.seq === 0) this.#fault(peer, "unsolicited");
      return;
    }
    this.#renew(asking);
    if (answer.type === "busy") this.#finish(asking.side.hasBegun ? "partial" : "busy");
    else if (answer.type === "equal") {
      if (asking.side.hasBegun) this.#fault(peer, "unsolicited");
      else this.#finish("equal");
    } else this.#proceed(asking, asking.side.handle(answer));
  }

  #refuse(peer: PeerId, { type, seq }: Request): void {
    if (type !== "end" && type !== "offer") this.#send(peer, { type: "busy", seq });
  }

  #request(peer: PeerId, request: Request): void {
    if (request.type === "open") {
      this.#opened(peer, request);
      return;
    }
    const answering = this.#answering;
    if (answering?.peer !== peer || answering.side.seq !== request.seq) {
      this.#refuse(peer, request);
      return;
    }
    this.#renew(answering);
    this.#proceed(answering, answering.side.handle(request));
  }

  #opened(peer: PeerId, open: Extract<Request, { readonly type: "open" }>): void {
    if (isEqual(this.#set, open)) this.#send(peer, { type: "equal", seq: open.seq });
    else if (this.#answering !== undefined && this.#answering.peer !== peer) {
      this.#send(peer, { type: "busy", seq: open.seq });
    } else {
      const salt = randomBytes(this.#random, SALT_BYTES);
      const side = new Answering(this.#set, open, salt, this.#outlet(peer));
      this.#answering = { peer, side, since: this.#now, until: this.#now + SILENCE_MS };
    }
  }

  #renew(running: Running<unknown>): void {
    running.until = Math.min(this.#now + SILENCE_MS, running.since + MAX_EXCHANGE_MS);
  }

  #work(): void {
    const asking = this.#asking;
    if (asking?.side.isWorking) this.#proceed(asking, asking.side.work());
    const answering = this.#answering;
    if (answering?.side.isWorking) this.#proceed(answering, answering.side.work());
  }

  #proceed(running: Running<Asking> | Running<Answering>, course: Course): void {
    if (course === "goes-on") return;
    if (course !== "over") this.#fault(running.peer, course);
    else if (running === this.#answering) this.#answering = undefined;
    else if (this.#asking !== undefined) this.#finish(this.#asking.side.more ? "partial" : "complete");
  }

  #finish(ending: Ending): void {
    const asking = this.#asking;
    if (asking === undefined) return;
    this.#asking = undefined;
    this.#outputs.push({ type: "finished", peer: asking.peer, ending });
  }

  #fault(peer: PeerId, fault: ReconcileFault): void {
    this.#outputs.push({ type: "fault", peer, fault });
    if (this.#answering?.peer === peer) this.#answering = undefined;
    if (this.#asking?.peer === peer) this.#finish("failed");
  }

  #expire(): void {
    if (this.#answering !== undefined && this.#answering.until <= this.#now) this.#answering = undefined;
    const asking = this.#asking;
    if (asking !== undefined && asking.until <= this.#now) this.#finish(asking.side.hasBegun ? "partial" : "failed");
  }
}
