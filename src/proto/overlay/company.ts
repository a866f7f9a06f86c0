import { Deadlines } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";

/** While no link stands, members are asked for at this pace and then ever more slowly; with links, to merge what was split. */
const SEEK_MS = 250;
const LONGEST_SEEK_MS = 15_000;
const MERGE_MS = 60_000;
/**
 * How often, ms, and how many times servers are tried again when nobody answers any more: the network of this machine may have
 * been gone, and back-off is for servers that were, with thousands of members that still have each other.
 */
const HURRY_MS = 2_000;
const HURRIES = 15;
/**
 * When a member falls back on those that it remembers, ms: they are held for down until they say otherwise, and that takes
 * seconds where a member that is there tells who else is in one exchange. Alone, and once that exchange is over.
 */
const RECALL_ALONE_MS = 2_000;
const RECALL_MS = 10_000;

/**
 * When a member looks for others: at the signaling servers, again and again, and in its own memory.
 *
 * Alone, it asks to be introduced ever more rarely; linked, once a minute, because a split is merged by one crossing link.
 * Whom it remembers from an earlier life it goes by when nobody has been found otherwise, or when those who were found have
 * told who is there. When nobody answers any more it is most likely cut off itself, and has no other way than the servers.
 * It decides nothing about who is dialed, and trusts its host for what links there are.
 */
export class Company implements Machine<CompanyInput, CompanyOutput> {
  readonly #links: { readonly size: number };
  readonly #deadlines = new Deadlines<"seek" | "recall" | "hurry">();
  readonly #recallAt: Instant;
  #seekMs = SEEK_MS;
  #hurries = 0;

  /** @param links those that stand: changed before this machine is called. */
  constructor(links: { readonly size: number }, now: Instant) {
    this.#links = links;
    this.#recallAt = now + RECALL_MS;
    this.#deadlines.set("seek", now + SEEK_MS);
    this.#deadlines.set("recall", now + RECALL_ALONE_MS);
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  handle(input: CompanyInput, now: Instant): readonly CompanyOutput[] {
    switch (input.type) {
      case "link-up":
        this.#seekMs = SEEK_MS;
        return NOTHING;
      case "isolated":
        if (this.#hurries === 0) this.#deadlines.set("hurry", now + HURRY_MS);
        this.#hurries = HURRIES;
        return [{ type: "nudge", unlessReady: false }];
      case "timeout":
        return this.#timeout(now);
    }
  }

  #timeout(now: Instant): readonly CompanyOutput[] {
    const out: CompanyOutput[] = [];
    for (let due = this.#deadlines.take(now); due !== undefined; due = this.#deadlines.take(now)) {
      if (due === "seek") {
        out.push({ type: "introduce" });
        this.#seekAgain(now);
      } else if (due === "hurry") {
        out.push({ type: "nudge", unlessReady: true });
        if (--this.#hurries > 0) this.#deadlines.set("hurry", now + HURRY_MS);
      } else if (this.#links.size > 0 && now < this.#recallAt) this.#deadlines.set("recall", this.#recallAt);
      else out.push({ type: "recall" });
    }
    return out;
  }

  #seekAgain(now: Instant): void {
    const isLinked = this.#links.size > 0;
    this.#seekMs = isLinked ? SEEK_MS : Math.min(this.#seekMs * 2, LONGEST_SEEK_MS);
    this.#deadlines.set("seek", now + (isLinked ? MERGE_MS : this.#seekMs));
  }
}

export type CompanyInput =
  | { readonly type: "link-up" }
  /** Nobody answers any more. */
  | { readonly type: "isolated" }
  | { readonly type: "timeout" };

export type CompanyOutput =
  /** Ask the servers for some members. */
  | { readonly type: "introduce" }
  /** Find out at once which servers are there, and ask them for members; `unlessReady`: only if none seems to be. */
  | { readonly type: "nudge"; readonly unlessReady: boolean }
  /** It is time for the members of an earlier life. */
  | { readonly type: "recall" };
