import { equalBytes, hex } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { WireValue } from "../wire/codec.ts";
import { type Batch, encodeParcel, entryBytes, proofBytes } from "./batch.ts";
import { digestOf, type Entry, encodeKey, pathOf } from "./entry.ts";
import type { ExchangeTools } from "./exchange.ts";
import { FRAGMENT_BYTES, MAX_ANSWERS_PER_WANT, MAX_ENTRIES_ITEMS, MAX_MESSAGE_BYTES } from "./limits.ts";
import {
  EntriesState,
  encodeBuckets,
  encodeEntries,
  encodeFragment,
  encodeLacking,
  encodeTokens,
  encodeVerdict,
  type FragmentWish,
  type Group,
  type HeldItem,
} from "./messages.ts";
import type { Rounds } from "./rounds.ts";
import { FINGERPRINT_BYTES, fingerprint, ROOT_BYTES } from "./sum.ts";
import type { Tokens } from "./tokens.ts";
import { idOf, versionIdOf } from "./version-id.ts";

/**
 * Answers to other replicas' requests.
 *
 * Nothing is remembered between two requests, so nobody can fill a table here by asking, and what one request costs
 * is bounded: entries looked at, bytes answered. What a bound leaves out of an answer is said to be left out, and
 * asked for again. How often a peer may ask is its {@link Conduct}'s business.
 */
export class Answers {
  readonly #tools: ExchangeTools;
  readonly #rounds: Rounds;
  readonly #tokens: Tokens;

  constructor(tools: ExchangeTools, rounds: Rounds, tokens: Tokens) {
    this.#tools = tools;
    this.#rounds = rounds;
    this.#tokens = tokens;
  }

  /** Equal, busy, or all our buckets. */
  root(peer: PeerId, seq: number, salt: Uint8Array, root: Uint8Array, now: Instant): Uint8Array {
    const { store, scope } = this.#tools;
    if (equalBytes(root, fingerprint(salt, scope.total(peer), ROOT_BYTES))) {
      this.#rounds.served(peer, now);
      return encodeVerdict(seq, false);
    }
    if (!this.#rounds.admit(peer, now)) return encodeVerdict(seq, true);
    const buckets: [string, Uint8Array][] = [];
    for (const { name, versions } of store.buckets()) {
      buckets.push([name, fingerprint(salt, scope.sum(name, versions, peer), FINGERPRINT_BYTES)]);
    }
    return encodeBuckets(seq, buckets);
  }

  /** Entries by id, those of one batch together, in up to four messages. Returns how many entries there are in them. */
  want(seq: number, groups: readonly Group[]): { readonly messages: readonly Uint8Array[]; readonly entries: number } {
    const found = new Map<Batch, Set<Entry>>();
    for (const { bucket, ids } of groups) {
      const versions = this.#tools.store.bucket(bucket)?.versions;
      for (const id of ids) {
        const entry = versions?.find(id);
        if (entry === undefined) continue;
        for (const item of this.#tools.store.together(entry)) {
          const chosen = found.get(entry.batch);
          if (chosen === undefined) found.set(entry.batch, new Set([item]));
          else chosen.add(item);
        }
      }
    }
    // A proof costs more than a small entry, so batches with many of the entries come first.
    const batches = [...found].sort(([, a], [, b]) => b.size - a.size);
    return packEntries(seq, batches);
  }

  /** The version of a key, with its proof. */
  read(seq: number, bucket: string, key: string): Uint8Array {
    const entry = this.#tools.store.find(bucket, key);
    const parcels = entry === undefined ? [] : [encodeParcel(entry.batch, [entry])];
    return encodeEntries(seq, EntriesState.complete, parcels);
  }

  /** Which versions are here, or later ones; the others are wanted from the peer. */
  hold(peer: PeerId, bucket: string, items: readonly HeldItem[], now: Instant): readonly boolean[] {
    const { store, wants, fetches } = this.#tools;
    return items.map(({ key, clock, author, digest }) => {
      const entry = store.find(bucket, key);
      if (entry !== undefined) {
        const isLater = entry.clock > clock || (entry.clock === clock && entry.batch.author > author);
        if (isLater || equalBytes(digestOf(entry).subarray(0, 8), digest)) return true;
      }
      const keyBytes = encodeKey(key);
      if (keyBytes === undefined) return true;
      const id = versionIdOf(pathOf(keyBytes), clock, digest);
      if (!store.isFull(bucket) && !fetches.noteSource(id, peer)) wants.add(peer, bucket, id, now);
      return false;
    });
  }

  /** The tokens that we know of those asked for. */
  tokens(seq: number, hashes: readonly Uint8Array[]): Uint8Array {
    const tokens: string[] = [];
    for (const hash of hashes) {
      const token = this.#tokens.byName(hex(hash));
      if (token !== undefined) tokens.push(token);
    }
    return encodeTokens(seq, tokens);
  }

  /** A fragment of a large value; or that it is not here, in which case the peer hears of it when it is. */
  fetch(peer: PeerId, seq: number, wish: FragmentWish): Uint8Array {
    const entry = this.#tools.store.find(wish.bucket, wish.key);
    if (entry === undefined || wish.offset >= entry.size || idOf(entry) !== wish.id) {
      this.#tools.fetches.wait(wish.id, peer);
      return encodeLacking(seq);
    }
    return encodeFragment(seq, entry.value.subarray(wish.offset, wish.offset + FRAGMENT_BYTES));
  }
}

/** Entries on their way into up to four messages. */
class Packer {
  readonly #seq: number;
  readonly #messages: Uint8Array[] = [];
  #parcels: { readonly batch: Batch; readonly entries: Entry[] }[] = [];
  #bytes = 0;
  #items = 0;
  #packed = 0;

  constructor(seq: number) {
    this.#seq = seq;
  }

  /** Adds entries of `batch` that go together; false when there is no room for them. */
  add(batch: Batch, entries: readonly Entry[]): boolean {
    const last = this.#parcels.at(-1);
    const isNext = last?.batch === batch;
    let bytes = isNext ? 0 : proofBytes(batch);
    for (const entry of entries) bytes += entryBytes(entry);
    const items = (isNext ? 0 : 11) + 6 * entries.length;
    const isOver = this.#bytes + bytes > MAX_MESSAGE_BYTES || this.#items + items > MAX_ENTRIES_ITEMS;
    if (isOver && last !== undefined) {
      if (this.#messages.length === MAX_ANSWERS_PER_WANT - 1) return false;
      this.#close(EntriesState.follows);
      return this.add(batch, entries);
    }
    if (isNext) last.entries.push(...entries);
    else this.#parcels.push({ batch, entries: [...entries] });
    this.#bytes += bytes;
    this.#items += items;
    this.#packed += entries.length;
    return true;
  }

  #close(state: EntriesState): void {
    const parcels = this.#parcels.map(({ batch, entries }): WireValue => encodeParcel(batch, entries));
    this.#messages.push(encodeEntries(this.#seq, state, parcels));
    this.#parcels = [];
    this.#bytes = 0;
    this.#items = 0;
  }

  finish(state: EntriesState): { readonly messages: readonly Uint8Array[]; readonly entries: number } {
    this.#close(state);
    return { messages: this.#messages, entries: this.#packed };
  }
}

function packEntries(
  seq: number,
  batches: Iterable<readonly [Batch, ReadonlySet<Entry>]>,
): { readonly messages: readonly Uint8Array[]; readonly entries: number } {
  const packer = new Packer(seq);
  for (const [batch, chosen] of batches) {
    const groups = batch.isAtomic ? [[...chosen]] : Array.from(chosen, (entry) => [entry]);
    for (const group of groups) if (!packer.add(batch, group)) return packer.finish(EntriesState.again);
  }
  return packer.finish(EntriesState.complete);
}
