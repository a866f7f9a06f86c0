import { absent, present } from "./answering.ts";
import { compareIds, keyedHash } from "./compare.ts";
import type { Course, Outlet } from "./effects.ts";
import { estimate, Strata } from "./estimate.ts";
import { IdList } from "./id-list.ts";
import type { Ids } from "./ids.ts";
import {
  MAX_CELL_MESSAGES,
  MAX_CELLS_PER_MESSAGE,
  MAX_IDS_PER_MESSAGE,
  MAX_LEAVES_PER_LISTING,
  MAX_REQUESTS,
  STEPS_PER_SLICE,
} from "./limits.ts";
import { type Listing, listRange } from "./listing.ts";
import { type Answer, type FoundPage, LEFT_OUT, type ListedRange, MAX_PART_BITS } from "./messages.ts";
import { type ExchangeKey, exchangeKey } from "./mixing.ts";
import { cellLimit, commonLevel, furtherCells, type Plan, planExchange } from "./plan.ts";
import { rootOf } from "./root.ts";
import { packCells, Sketch } from "./sketch.ts";

/**
 * The asking side of one exchange: it opens, plans by the answering side's prints, sends cells until told to stop, and
 * lists what no sketch resolves. After it both sides know what they lack and what the other lacks.
 *
 *     A: salt, root, size           B: equal: some 40 bytes in all; else salt, size, prints
 *     A: cells                      B: found: what each side lacks; the ids in leaves with more than one difference
 *     (A: cells ...                 B: more | found) until found; (A: list  B: ids) for what is to be listed
 */

type SketchPlan = Extract<Plan, { readonly type: "sketch" }>;

type Phase =
  | { readonly type: "opening" }
  | { readonly type: "estimating"; readonly strata: Strata; readonly size: number; readonly prints: Uint8Array }
  /** Cells are sent up to `target`; `outstanding` messages of them are unanswered. */
  | {
      readonly type: "sketching";
      readonly plan: SketchPlan;
      readonly section: number;
      readonly sketch: Sketch;
      target: number;
      outstanding: number;
      isProducing: boolean;
    }
  /** The findings of a section are read. */
  | { readonly type: "reading"; readonly plan: SketchPlan; readonly section: number; readonly read: Reading }
  | { readonly type: "listing"; readonly asked: ListedRange };

/** What the findings of one section may still be. */
interface Reading {
  /** Leaves and ids: no more than cells were sent. */
  left: number;
  readonly leaves: Set<number>;
}

/** One exchange, on the asking side. */
export class Asking {
  readonly seq: number;
  readonly #set: Ids;
  readonly #salt: Uint8Array;
  readonly #outlet: Outlet;
  readonly #most: number;
  /** Our size when the exchange was opened: both sides reckon with it. */
  readonly #size: number;
  #requests = 0;
  #key: ExchangeKey | undefined;
  #phase: Phase = { type: "opening" };
  /** Ranges to list, the next one last. */
  readonly #ranges: ListedRange[] = [];
  #found = 0;
  #more = false;
  #isHeld = false;
  /** What is put off while the exchange is held. */
  #next: (() => Course) | undefined;

  /** Opens. `salt`: our share, fresh. `most`: differences after which the rest is left to the next exchange. */
  constructor(set: Ids, seq: number, salt: Uint8Array, most: number, outlet: Outlet) {
    this.seq = seq;
    this.#set = set;
    this.#salt = salt;
    this.#most = most;
    this.#size = set.size;
    this.#outlet = outlet;
    outlet.send({ type: "open", seq, salt, root: rootOf(set, salt), size: set.size });
  }

  /** Whether something has been left to the next exchange. */
  get more(): boolean {
    return this.#more;
  }

  /** Whether the peer has answered that we differ. */
  get hasBegun(): boolean {
    return this.#phase.type !== "opening";
  }

  /** Whether {@link work} has something to do. */
  get isWorking(): boolean {
    const phase = this.#phase;
    if (phase.type === "estimating") return true;
    if (phase.type !== "sketching") return false;
    return phase.isProducing || (phase.sketch.produced < phase.target && phase.outstanding < MAX_CELL_MESSAGES);
  }

  /** Asks for nothing further while held: the caller has no room for what it would find. */
  hold(isHeld: boolean): Course {
    this.#isHeld = isHeld;
    const next = this.#next;
    if (isHeld || next === undefined) return "goes-on";
    this.#next = undefined;
    return next();
  }

  #goOn(step: () => Course): Course {
    if (!this.#isHeld) return step();
    this.#next = step;
    return "goes-on";
  }

  /** Takes an answer; `equal` and `busy` end the exchange and are the caller's. */
  handle(answer: Exclude<Answer, { readonly type: "equal" | "busy" }>): Course {
    const phase = this.#phase;
    switch (answer.type) {
      case "differ":
        if (phase.type !== "opening") return "unsolicited";
        // So many are on one side alone at the least.
        if (Math.abs(answer.size - this.#size) >= this.#most) return this.#stop();
        this.#key = exchangeKey(this.#salt, answer.salt);
        this.#phase = {
          type: "estimating",
          strata: new Strata(this.#set, this.#key, commonLevel(this.#size, answer.size)),
          size: answer.size,
          prints: answer.prints,
        };
        return "goes-on";
      case "more":
        if (phase.type !== "sketching" || phase.outstanding === 0) return "unsolicited";
        if (--phase.outstanding === 0 && phase.sketch.produced === phase.target) return this.#further(phase);
        return "goes-on";
      case "found":
        if (phase.type === "sketching" && phase.sketch.produced > 0) {
          const read = { left: phase.sketch.produced, leaves: new Set<number>() };
          return this.#read(answer, { type: "reading", plan: phase.plan, section: phase.section, read });
        }
        return phase.type === "reading" ? this.#read(answer, phase) : "unsolicited";
      case "listing":
        return phase.type === "listing" ? this.#listed(phase.asked, answer) : "unsolicited";
    }
  }

  #plan(size: number, differing: number): Course {
    const plan = planExchange(this.#size, size, differing);
    if (plan.type === "sketch") return this.#sketch(plan, 0);
    // Where listing begins is drawn, so that exchanges that are cut short do not all list the same.
    const { level } = plan;
    const start = ((this.#key as ExchangeKey).seed[3] as number) & ((1 << level) - 1);
    if (start > 0) this.#ranges.push({ level, from: 0, to: start, bits: 0, part: 0 });
    this.#ranges.push({ level, from: start, to: 1 << level, bits: 0, part: 0 });
    return this.#list();
  }

  #sketch(plan: SketchPlan, section: number): Course {
    const sketch = new Sketch(this.#set, this.#key as ExchangeKey, { level: plan.level, bits: plan.bits, section });
    const target = Math.min(plan.cells, cellLimit(sketch.leaves));
    this.#phase = { type: "sketching", plan, section, sketch, target, outstanding: 0, isProducing: false };
    return "goes-on";
  }

  #further(phase: Extract<Phase, { readonly type: "sketching" }>): Course {
    const { sketch, target } = phase;
    phase.target = Math.min(furtherCells(target), cellLimit(sketch.leaves));
    return phase.target === target ? "inconsistent" : "goes-on";
  }

  /** Does a slice of what is to be done before more can be said. */
  work(): Course {
    const phase = this.#phase;
    if (phase.type === "estimating") {
      const mine = phase.strata.advance(STEPS_PER_SLICE);
      return mine === undefined ? "goes-on" : this.#plan(phase.size, estimate(mine, phase.prints));
    }
    if (phase.type !== "sketching" || !this.isWorking) return "goes-on";
    const { sketch, plan, section } = phase;
    if (!phase.isProducing) {
      sketch.begin(Math.min(phase.target, sketch.produced + MAX_CELLS_PER_MESSAGE));
      phase.isProducing = true;
    }
    const cells = sketch.advance(STEPS_PER_SLICE);
    if (cells === undefined) return "goes-on";
    phase.isProducing = false;
    phase.outstanding++;
    const { level, bits } = plan;
    this.#outlet.send({ type: "cells", seq: this.seq, level, bits, section, cells: packCells(cells) });
    return "goes-on";
  }

  #read(page: FoundPage, phase: Extract<Phase, { readonly type: "reading" }>): Course {
    const { plan, section, read } = phase;
    this.#phase = phase;
    const told = page.wanted.length + page.offered.length + page.leaves.length + page.mixed.length;
    read.left -= told;
    if (read.left < 0 || (told === 0 && !page.last)) return "inconsistent";
    const mask = (1 << plan.bits) - 1;
    for (const leaf of [...page.leaves, ...page.mixed]) {
      if (leaf >>> plan.level !== 0 || (leaf & mask) !== section) return "misplaced";
      if (read.leaves.has(leaf)) return "inconsistent";
      read.leaves.add(leaf);
    }
    if (!allIn(page.wanted, mask, section) || !allIn(page.offered, mask, section)) return "misplaced";
    this.#differ(absent(this.#set, page.offered), present(this.#set, page.wanted), false);
    const course = this.#mixed(page, plan.level);
    if (course !== "goes-on") return course;
    if (this.#found >= this.#most) return this.#stop();
    if (!page.last) {
      return this.#goOn(() => {
        this.#outlet.send({ type: "next", seq: this.seq });
        return "goes-on";
      });
    }
    return this.#goOn(() => (section + 1 < 1 << plan.bits ? this.#sketch(plan, section + 1) : this.#list()));
  }

  /** Compares the leaves whose ids the page lists, and puts those aside that it does not. */
  #mixed(page: FoundPage, level: number): Course {
    for (const leaf of page.mixed) this.#ranges.push({ level, from: leaf, to: leaf + 1, bits: 0, part: 0 });
    if (page.leaves.length === 0) return page.ids.length === 0 ? "goes-on" : "misplaced";
    const listed = new Set(page.leaves);
    for (let index = 0; index < page.ids.length; index++) {
      if (!listed.has(page.ids.word(index, 3) & ((1 << level) - 1))) return "misplaced";
    }
    const mine = new IdList();
    for (const leaf of page.leaves) {
      const before = mine.length;
      this.#set.collect(level, leaf, mine, before + MAX_IDS_PER_MESSAGE);
      if (mine.length <= before + MAX_IDS_PER_MESSAGE) continue;
      // Heavy here only: it is listed in parts.
      mine.truncate(before);
      listed.delete(leaf);
      this.#ranges.push({ level, from: leaf, to: leaf + 1, bits: 0, part: 0 });
    }
    if (listed.size === page.leaves.length) return this.#compare(mine, page.ids);
    const theirs = new IdList();
    for (let index = 0; index < page.ids.length; index++) {
      if (listed.has(page.ids.word(index, 3) & ((1 << level) - 1))) theirs.pushFrom(page.ids, index);
    }
    return this.#compare(mine, theirs);
  }

  #compare(mine: IdList, theirs: IdList): Course {
    const comparison = compareIds(this.#key as ExchangeKey, mine, theirs);
    if (comparison === undefined) return "inconsistent";
    this.#differ(comparison.missing, comparison.surplus, true);
    return "goes-on";
  }

  /** `isNews`: the peer does not know what it lacks. */
  #differ(missing: IdList, surplus: IdList, isNews: boolean): void {
    for (let from = 0; isNews && from < surplus.length; from += MAX_IDS_PER_MESSAGE) {
      this.#outlet.send({ type: "offer", seq: this.seq, ids: surplus.slice(from, MAX_IDS_PER_MESSAGE) });
    }
    if (missing.length + surplus.length > 0) this.#outlet.difference(missing, surplus);
    this.#found += missing.length + surplus.length;
  }

  /** Asks for the ids of the next range, or ends the exchange. */
  #list(): Course {
    for (let range = this.#ranges.pop(); range !== undefined; range = this.#ranges.pop()) {
      if (this.#found >= this.#most || ++this.#requests > MAX_REQUESTS / 2) return this.#stop();
      const { level, from, to, bits } = range;
      const most = Math.min(to, from + MAX_LEAVES_PER_LISTING);
      const own = listRange(this.#set, this.#key as ExchangeKey, { ...range, to: most });
      const asked = own.bits === 0 ? { ...range, to: own.next } : { ...range, to: from + 1, bits: own.bits, part: 0 };
      if (asked.to < to) this.#ranges.push({ level, from: asked.to, to, bits: 0, part: 0 });
      if (own.bits === LEFT_OUT) {
        this.#more = true;
        continue;
      }
      // What was asked for in coarser parts is asked for anew.
      if (own.bits === 0 && bits > 0) this.#nextPart(range);
      else if (asked.bits > 0) this.#nextPart(asked);
      this.#phase = { type: "listing", asked };
      this.#outlet.send({ type: "list", seq: this.seq, ...asked });
      return "goes-on";
    }
    return this.#end();
  }

  #nextPart(range: ListedRange): void {
    if (range.part + 1 < 1 << range.bits) this.#ranges.push({ ...range, part: range.part + 1 });
  }

  #listed(asked: ListedRange, { next, bits, ids }: Listing): Course {
    const { level, from, to } = asked;
    if (bits > 0) {
      if (ids.length > 0 || next !== from || (bits > MAX_PART_BITS && bits !== LEFT_OUT) || bits <= asked.bits) {
        return "inconsistent";
      }
      return this.#divided(asked, bits);
    }
    if (next <= from || next > to) return "inconsistent";
    const key = this.#key as ExchangeKey;
    for (let index = 0; index < ids.length; index++) {
      const leaf = ids.word(index, 3) & ((1 << level) - 1);
      if (leaf < from || leaf >= next) return "misplaced";
      if (asked.bits > 0 && keyedHash(key, ids, index) >>> (32 - asked.bits) !== asked.part) return "misplaced";
    }
    if (next < to) this.#ranges.push({ level, from: next, to, bits: 0, part: 0 });
    const own = listRange(this.#set, key, { ...asked, to: next });
    // So many writes in between that they do not fit any more: the next exchange finds them.
    if (own.bits > 0 || own.next !== next) this.#more = true;
    else {
      const course = this.#compare(own.ids, ids);
      if (course !== "goes-on") return course;
    }
    return this.#goOn(() => this.#list());
  }

  /** The peer's leaf `from` is too heavy for one message, or for any. */
  #divided(asked: ListedRange, bits: number): Course {
    const { level, from, to } = asked;
    if (asked.bits > 0) {
      // The other parts of the leaf are in the way.
      const last = this.#ranges.at(-1);
      if (last !== undefined && last.from === from && last.bits === asked.bits) this.#ranges.pop();
    }
    if (from + 1 < to) this.#ranges.push({ level, from: from + 1, to, bits: 0, part: 0 });
    if (bits === LEFT_OUT) this.#more = true;
    else this.#ranges.push({ level, from, to: from + 1, bits, part: 0 });
    return this.#list();
  }

  #stop(): Course {
    this.#more = true;
    return this.#end();
  }

  #end(): Course {
    this.#outlet.send({ type: "end", seq: this.seq });
    return "over";
  }
}

function allIn(ids: IdList, mask: number, section: number): boolean {
  for (let index = 0; index < ids.length; index++) if ((ids.word(index, 3) & mask) !== section) return false;
  return true;
}
