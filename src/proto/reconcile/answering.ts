import { equalBytes } from "../bytes.ts";
import { Decoder } from "./decoder.ts";
import type { Course, Outlet } from "./effects.ts";
import { Strata } from "./estimate.ts";
import { IdList } from "./id-list.ts";
import type { Ids } from "./ids.ts";
import {
  MAX_CELL_MESSAGES,
  MAX_IDS_PER_MESSAGE,
  MAX_LEAVES_PER_LISTING,
  MAX_REQUESTS,
  STEPS_PER_SLICE,
} from "./limits.ts";
import { listRange } from "./listing.ts";
import type { Request } from "./messages.ts";
import { type ExchangeKey, exchangeKey } from "./mixing.ts";
import { cellLimit, commonLevel } from "./plan.ts";
import { rootOf } from "./root.ts";
import { CELL_BYTES, Sketch } from "./sketch.ts";

/**
 * The answering side of one exchange: it decodes the asking side's cells and tells what differs, or lists its ids.
 *
 * Everything it does is at the asking side's request and bounded per request; what takes longer than a slice waits for
 * {@link Answering.work}. Its own sketch is of the moment at which the first cells of a section arrive, so writes in
 * between do not disturb the decoding: they are found next time.
 */

type Open = Extract<Request, { readonly type: "open" }>;
type Cells = Extract<Request, { readonly type: "cells" }>;

/** A section under way, or found. */
interface Section {
  readonly level: number;
  readonly bits: number;
  readonly section: number;
  readonly sketch: Sketch;
  readonly decoder: Decoder;
  /** Cells that wait to be decoded. */
  readonly waiting: Uint8Array[];
  /** How many cells have come, those that wait included. */
  received: number;
  step: "idle" | "sketching" | "peeling" | "found";
}

/** What has been found and not yet been told: positions in the three lists. */
interface Untold {
  readonly level: number;
  readonly theirs: IdList;
  readonly mine: IdList;
  readonly mixed: readonly number[];
  wanted: number;
  offered: number;
  leaf: number;
}

/** Whether `open` is from a set equal to ours. */
export function isEqual(set: Ids, open: Open): boolean {
  return equalBytes(rootOf(set, open.salt), open.root);
}

/** One exchange, on the answering side. */
export class Answering {
  readonly seq: number;
  readonly #set: Ids;
  readonly #key: ExchangeKey;
  readonly #level: number;
  /** Our size when the exchange was opened: both sides reckon with it. */
  readonly #size: number;
  readonly #outlet: Outlet;
  readonly #salt: Uint8Array;
  /** Under way until the first answer. */
  #strata: Strata | undefined;
  #section: Section | undefined;
  #untold: Untold | undefined;
  #requests = 0;

  /** Answers `open`, which is from a different set. `salt`: our share, fresh. */
  constructor(set: Ids, open: Open, salt: Uint8Array, outlet: Outlet) {
    this.seq = open.seq;
    this.#set = set;
    this.#outlet = outlet;
    this.#key = exchangeKey(open.salt, salt);
    this.#level = commonLevel(set.size, open.size);
    this.#salt = salt;
    this.#size = set.size;
    this.#strata = new Strata(set, this.#key, this.#level);
  }

  /** Whether {@link work} has something to do. */
  get isWorking(): boolean {
    if (this.#strata !== undefined) return true;
    const section = this.#section;
    return section !== undefined && section.step !== "found" && (section.step !== "idle" || section.waiting.length > 0);
  }

  /** Takes a request of this exchange's, other than its first. */
  handle(request: Exclude<Request, Open>): Course {
    if (++this.#requests > MAX_REQUESTS) return "endless";
    if (this.#strata !== undefined && request.type !== "end") return "unsolicited";
    switch (request.type) {
      case "cells":
        return this.#cells(request);
      case "next":
        if (this.#untold === undefined) return "unsolicited";
        this.#tell(this.#untold);
        return "goes-on";
      case "list": {
        if (request.to - request.from > MAX_LEAVES_PER_LISTING) return "malformed";
        const { next, bits, ids } = listRange(this.#set, this.#key, request);
        this.#outlet.send({ type: "listing", seq: this.seq, next, bits, ids });
        return "goes-on";
      }
      case "offer": {
        const missing = absent(this.#set, request.ids);
        if (missing.length > 0) this.#outlet.difference(missing, new IdList());
        return "goes-on";
      }
      case "end":
        return "over";
    }
  }

  #cells(request: Cells): Course {
    const { level, bits, section } = request;
    const current = this.#section;
    const isCurrent =
      current !== undefined && current.level === level && current.bits === bits && current.section === section;
    if (!isCurrent && current !== undefined && current.step !== "found") return "unsolicited";
    if (level > this.#level) return "malformed";
    // What was on its way when the section was found.
    if (isCurrent && current.step === "found") return "goes-on";
    const target = isCurrent ? current : this.#begin(level, bits, section);
    target.received += request.cells.length / CELL_BYTES;
    if (target.received > cellLimit(target.sketch.leaves)) return "undecodable";
    if (target.waiting.length === MAX_CELL_MESSAGES) return "unsolicited";
    target.waiting.push(request.cells);
    return "goes-on";
  }

  #begin(level: number, bits: number, section: number): Section {
    const place = { level, bits, section };
    this.#section = {
      ...place,
      sketch: new Sketch(this.#set, this.#key, place),
      decoder: new Decoder(this.#key, place),
      waiting: [],
      received: 0,
      step: "idle",
    };
    this.#untold = undefined;
    return this.#section;
  }

  /** Does a slice of what waits. */
  work(): Course {
    const strata = this.#strata;
    if (strata !== undefined) {
      const prints = strata.advance(STEPS_PER_SLICE);
      if (prints === undefined) return "goes-on";
      this.#strata = undefined;
      this.#outlet.send({ type: "differ", seq: this.seq, salt: this.#salt, size: this.#size, prints });
      return "goes-on";
    }
    const section = this.#section;
    if (section === undefined) return "goes-on";
    const { sketch, decoder, waiting } = section;
    if (section.step === "idle") {
      const cells = waiting[0];
      if (cells === undefined) return "goes-on";
      sketch.begin(sketch.produced + cells.length / CELL_BYTES);
      section.step = "sketching";
    }
    if (section.step === "sketching") {
      const mine = sketch.advance(STEPS_PER_SLICE);
      const cells = mine && waiting.shift();
      if (mine === undefined || cells === undefined) return "goes-on";
      decoder.append(cells, mine);
      section.step = "peeling";
      // Few cells are peeled in the same slice.
      if (mine.length > STEPS_PER_SLICE / 8) return "goes-on";
    }
    return section.step === "peeling" ? this.#peel(section) : "goes-on";
  }

  #peel(section: Section): Course {
    switch (section.decoder.peel(STEPS_PER_SLICE / 4)) {
      case "going-on":
        return "goes-on";
      case "inconsistent":
        return "inconsistent";
      case "stalled":
        section.step = "idle";
        this.#outlet.send({ type: "more", seq: this.seq });
        return "goes-on";
      case "complete":
        section.step = "found";
        section.waiting.length = 0;
        this.#found(section);
        return "goes-on";
    }
  }

  #found(section: Section): void {
    const { findings } = section.decoder;
    const theirs = absent(this.#set, findings.theirs);
    const mine = present(this.#set, findings.mine);
    if (theirs.length + mine.length > 0) this.#outlet.difference(theirs, mine);
    this.#tell({ level: section.level, theirs, mine, mixed: findings.mixed, wanted: 0, offered: 0, leaf: 0 });
  }

  /** Tells as much as fits into one message. */
  #tell(untold: Untold): void {
    const wanted = untold.theirs.slice(untold.wanted, MAX_IDS_PER_MESSAGE);
    untold.wanted += wanted.length;
    let room = MAX_IDS_PER_MESSAGE - wanted.length;
    const offered = untold.mine.slice(untold.offered, room);
    untold.offered += offered.length;
    room -= offered.length;
    const leaves: number[] = [];
    const mixed: number[] = [];
    const ids = new IdList();
    for (; untold.leaf < untold.mixed.length && ids.length + leaves.length + mixed.length < room; untold.leaf++) {
      const leaf = untold.mixed[untold.leaf] as number;
      const before = ids.length;
      this.#set.collect(untold.level, leaf, ids, before + MAX_IDS_PER_MESSAGE / 4);
      if (ids.length > before + MAX_IDS_PER_MESSAGE / 4) {
        ids.truncate(before);
        mixed.push(leaf);
      } else leaves.push(leaf);
    }
    const last =
      untold.wanted === untold.theirs.length &&
      untold.offered === untold.mine.length &&
      untold.leaf === untold.mixed.length;
    this.#untold = last ? undefined : untold;
    this.#outlet.send({ type: "found", seq: this.seq, wanted, offered, leaves, ids, mixed, last });
  }
}

function isIn(set: Ids, list: IdList, index: number): boolean {
  return set.find(list.word(index, 0), list.word(index, 1), list.word(index, 2), list.word(index, 3)) !== -1;
}

/** The ids that the set does not hold. */
export function absent(set: Ids, ids: IdList): IdList {
  const list = new IdList();
  for (let index = 0; index < ids.length; index++) if (!isIn(set, ids, index)) list.pushFrom(ids, index);
  return list;
}

/** The ids that the set holds. */
export function present(set: Ids, ids: IdList): IdList {
  const list = new IdList();
  for (let index = 0; index < ids.length; index++) if (isIn(set, ids, index)) list.pushFrom(ids, index);
  return list;
}
