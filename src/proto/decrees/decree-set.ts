import { compareBytes, equalBytes } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { VerifyAuthority } from "../trust/crypto.ts";
import { type IssuerList, issuerOf, kidOf, type SignedIssuers } from "../trust/issuers.ts";
import { mayDo } from "../trust/rights.ts";
import { type Decree, decodeDecree, decreeIdOf, encodeDecree, LABELS, type SignedDecree } from "./decree.ts";
import type { DecreeId } from "./decree-id.ts";
import { BUCKETS, MAX_REVOCATIONS_OF_A_SIGNER, TELL_BYTES } from "./limits.ts";
import { outranks, readDecree, slotOf } from "./rank.ts";
import type { Revocation } from "./revocation.ts";
import { Revoked, type TokenNames } from "./revoked.ts";
import type { Rotation } from "./rotation.ts";
import type { Succession } from "./succession.ts";

/**
 * The decrees that are in force: one replicated set that every member and every signaling server holds. It only grows, but
 * for what something better has taken the place of: a conflict-free replicated set of registers, each with a total order
 * (`rank.ts`), so that all who have seen the same decrees hold the same, in whatever order they came.
 *
 * Who may say what:
 * - a *succession*: the root before it, once; of two the lower hash holds, until one of the heirs has signed a list. From its first list on the newest root alone speaks as root; until then, which is time
 *   to say anew what the one before has said, both do.
 * - a *list of issuing keys*: a root. That of the newest root holds, then the higher version, then the lower bytes.
 * - a *revocation*: a root that speaks, or an issuing key of the list in force whose ceiling covers `member:revoke`; of an issuing key
 *   only a root that speaks, or that key itself. The earlier `since` holds.
 * - a *rotation*: a root that speaks, or an issuing key of the list in force whose ceiling covers `keys:rotate`. The higher epoch
 *   holds, then the lower hash.
 *
 * An issuing key counts as long as the list names it, also beyond its end: it makes no token then, and what it has revoked
 * stays revoked. One that the list does not name any more has never said anything: that is how a root takes back what a
 * stolen key has revoked. Nothing else takes back anything.
 */
export class DecreeSet {
  readonly #verify: VerifyAuthority;
  readonly #roots: Root[];
  readonly #slots = new Map<string, Held>();
  readonly #byId = new Map<DecreeId, Held>();
  readonly #sums = Array.from({ length: BUCKETS }, () => new Uint8Array(SUM_BYTES));
  readonly #revoked = new Revoked();
  readonly #counts = new Map<string, number>();

  /** @param rootPublicKey the first root's, after which the cluster is named. */
  constructor(rootPublicKey: Uint8Array, verify: VerifyAuthority) {
    this.#roots = [rootOf(rootPublicKey)];
    this.#verify = verify;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The newest root's public key. */
  get root(): Uint8Array {
    return (this.#roots.at(-1) as Root).publicKey;
  }

  /** All roots, the first one first. */
  get roots(): readonly Uint8Array[] {
    return this.#roots.map(({ publicKey }) => publicKey);
  }

  /** The list of issuing keys in force with its signature; undefined before the first one. */
  get issuers(): { readonly list: IssuerList; readonly signed: SignedDecree } | undefined {
    return this.#issuersOf(this.#reign);
  }

  /** The list in force in the form for whoever knows only the first root. */
  get signedIssuers(): SignedIssuers | undefined {
    const generation = this.#reign;
    const found = this.#issuersOf(generation)?.signed;
    if (found === undefined) return undefined;
    const { body, signature } = found;
    const heirs = this.#roots.slice(1, generation + 1).map(({ publicKey }, index) => {
      const succession = this.#slots.get(`succession ${index + 1}`);
      return { publicKey, signature: (succession as Held).signed.signature };
    });
    return heirs.length === 0 ? { body, signature } : { body, signature, heirs };
  }

  /** The rotation in force; undefined while the cluster has its first secrets. */
  get rotation(): Rotation | undefined {
    let best: (Held & { readonly decree: Decree & { kind: "rotation" } }) | undefined;
    for (const held of this.#slots.values()) {
      const { decree } = held;
      if (decree.kind !== "rotation" || this.#revoked.issuer(held.signed.signer)) continue;
      if (best === undefined || outranks(held, best)) best = { ...held, decree };
    }
    return best?.decree;
  }

  /** Since when a member is out; undefined when it is not. */
  revokedSince(peer: PeerId): Instant | undefined {
    return this.#revoked.member(peer);
  }

  /** Whether anything at all is revoked. */
  get revokesAny(): boolean {
    return this.#revoked.isAny;
  }

  /** Whether a token is void: by its id, its issuing key, or its subject (from `since` on, at once when `at` is left out). */
  voids(token: TokenNames, at?: Instant): boolean {
    return this.#revoked.voids(token, at);
  }

  /** The revocations in force, in no order. */
  *revocations(): Generator<Revocation & { readonly id: DecreeId; readonly signer: string }> {
    for (const [id, { decree, signed }] of this.#byId) {
      if (decree.kind === "revocation") yield { ...decree, id, signer: signed.signer };
    }
  }

  /** How many revocations are in force, by what they are of. */
  countRevocations(): Readonly<Record<Revocation["target"]["of"], number>> {
    const counts = { member: 0, token: 0, issuer: 0 };
    for (const { target } of this.revocations()) counts[target.of]++;
    return counts;
  }

  /** What the key of this name has decreed and is in force. */
  *by(signer: string): Generator<SignedDecree> {
    for (const { signed } of this.#byId.values()) if (signed.signer === signer) yield signed;
  }

  has(id: DecreeId): boolean {
    return this.#byId.has(id);
  }

  /** Whether this very decree is in force. */
  holds(signed: SignedDecree): boolean {
    return this.#byId.has(decreeIdOf(signed));
  }

  signed(id: DecreeId): SignedDecree | undefined {
    return this.#byId.get(id)?.signed;
  }

  /** Encoded decrees of one part, or of all, what others depend on first. */
  *encoded(bucket?: number): Generator<{ readonly id: DecreeId; readonly bytes: Uint8Array }> {
    for (const foundation of [true, false]) {
      for (const [id, held] of this.#byId) {
        if (isFoundation(held.decree) === foundation && (bucket ?? held.bucket) === held.bucket) {
          yield { id, bytes: encodeDecree(held.signed) };
        }
      }
    }
  }

  /** The ids of one part. */
  ids(bucket: number): readonly DecreeId[] {
    return [...this.#byId].filter(([, held]) => held.bucket === bucket).map(([id]) => id);
  }

  /** 8 bytes for each part: equal sets, equal sums. */
  sums(): Uint8Array {
    const sums = new Uint8Array(BUCKETS * SUM_BYTES);
    for (const [bucket, sum] of this.#sums.entries()) sums.set(sum, bucket * SUM_BYTES);
    return sums;
  }

  /** Takes in an encoded decree from anybody. Never throws. */
  offer(encoded: Uint8Array, now: Instant): Ruling {
    const signed = decodeDecree(encoded);
    return signed === undefined ? { outcome: "malformed" } : this.accept(signed, now);
  }

  /** As {@link offer}. What it answers other than `news` changes nothing. */
  accept(signed: SignedDecree, now: Instant): Ruling {
    const id = decreeIdOf(signed);
    if (this.#byId.has(id)) return { outcome: "known" };
    const decree = readDecree(signed);
    if (decree === undefined) return { outcome: "malformed" };
    if (isOver(decree, now)) return { outcome: "over" };
    const key = this.#signerKey(signed.signer, decree);
    if (key === undefined) return { outcome: "unentitled" };
    const held: Held = { signed, decree, id, bucket: bucketOf(decree, id) };
    const slot = slotOf(decree, signed.signer);
    const before = this.#slots.get(slot);
    if (before !== undefined && !(this.#isOpen(decree) && outranks(held, before))) return { outcome: "superseded" };
    if (before === undefined && this.#isFull(held)) return { outcome: "full" };
    // The costly check comes last; nothing has changed before it.
    if (!this.#verify(key, LABELS[signed.kind], signed.body, signed.signature)) return { outcome: "forged" };
    if (before !== undefined) this.#remove(slot, before);
    this.#insert(slot, held);
    if (isFoundation(decree)) this.#review();
    return { outcome: "news", decree, id };
  }

  /** Forgets revocations that cannot matter any more. */
  tidy(now: Instant): void {
    for (const [slot, held] of this.#slots) if (isOver(held.decree, now)) this.#remove(slot, held);
  }

  #issuersOf(generation: number): { readonly list: IssuerList; readonly signed: SignedDecree } | undefined {
    const held = this.#slots.get(slotOf({ kind: "issuers" }, (this.#roots[generation] as Root).kid));
    return held?.decree.kind === "issuers" ? { list: held.decree.list, signed: held.signed } : undefined;
  }

  /** The generation of the newest root that has signed a list. */
  get #reign(): number {
    for (let generation = this.#roots.length - 1; generation > 0; generation--) {
      if (this.#issuersOf(generation) !== undefined) return generation;
    }
    return 0;
  }

  /** The key by which this signer may say such a thing; undefined if it may not. */
  #signerKey(signer: string, decree: Decree): Uint8Array | undefined {
    const generation = this.#roots.findIndex(({ kid }) => kid === signer);
    const root = this.#roots[generation]?.publicKey;
    if (decree.kind === "succession") return generation === decree.generation - 1 ? root : undefined;
    if (decree.kind === "issuers") return root;
    if (generation >= 0) return generation >= this.#reign ? root : undefined;
    const list = this.issuers?.list;
    const issuer = list && issuerOf(list, signer);
    if (issuer === undefined) return undefined;
    if (decree.kind === "revocation" && decree.target.of === "issuer") {
      return decree.target.kid === signer ? issuer.publicKey : undefined;
    }
    return mayDo(issuer.scopes, decree.kind === "rotation" ? "rotate" : "revoke") ? issuer.publicKey : undefined;
  }

  /** Whether what stands in the register of this decree may still be outranked: no longer once an heir has begun to reign. */
  #isOpen(decree: Decree): boolean {
    return decree.kind !== "succession" || this.#reign < decree.generation;
  }

  /** A rival who has lost takes its own heirs along: none of them has reigned. */
  #enthrone({ generation, publicKey }: Succession): void {
    for (const [slot, held] of this.#slots) {
      if (held.decree.kind === "succession" && held.decree.generation > generation) this.#remove(slot, held);
    }
    this.#roots.splice(generation, this.#roots.length, rootOf(publicKey));
  }

  /** Makes room for one more revocation of a signer; true when it is the one that has to stay out. */
  #isFull(held: Held): boolean {
    if (held.decree.kind !== "revocation") return false;
    if ((this.#counts.get(held.signed.signer) ?? 0) < MAX_REVOCATIONS_OF_A_SIGNER) return false;
    const last = this.#lastOf(held.signed.signer);
    return last === undefined || !precedes(held, last[1]);
  }

  #insert(slot: string, held: Held): void {
    this.#slots.set(slot, held);
    this.#byId.set(held.id, held);
    this.#toggle(held);
    const { decree } = held;
    if (decree.kind === "succession") this.#enthrone(decree);
    if (decree.kind !== "revocation") return;
    this.#revoked.add(decree);
    const { signer } = held.signed;
    const count = (this.#counts.get(signer) ?? 0) + 1;
    this.#counts.set(signer, count);
    const last = count > MAX_REVOCATIONS_OF_A_SIGNER ? this.#lastOf(signer) : undefined;
    if (last !== undefined) this.#remove(...last);
  }

  #remove(slot: string, held: Held): void {
    this.#slots.delete(slot);
    this.#byId.delete(held.id);
    this.#toggle(held);
    if (held.decree.kind !== "revocation") return;
    const { signer } = held.signed;
    this.#counts.set(signer, (this.#counts.get(signer) ?? 1) - 1);
    this.#revoked.rebuild(this.revocations());
  }

  /** After a change of who may say what: what nobody entitled has said goes. */
  #review(): void {
    for (const [slot, held] of this.#slots) {
      if (!isFoundation(held.decree) && this.#signerKey(held.signed.signer, held.decree) === undefined) {
        this.#remove(slot, held);
      }
    }
  }

  #lastOf(signer: string): [string, Held] | undefined {
    let last: [string, Held] | undefined;
    for (const entry of this.#slots) {
      const [, held] = entry;
      if (held.decree.kind !== "revocation" || held.signed.signer !== signer) continue;
      if (last === undefined || precedes(last[1], held)) last = entry;
    }
    return last;
  }

  #toggle(held: Held): void {
    const sum = this.#sums[held.bucket] as Uint8Array;
    for (let at = 0; at < SUM_BYTES; at++) sum[at] = (sum[at] as number) ^ held.id.charCodeAt(SUM_BYTES + at);
  }
}

/** The encoded decrees of all parts that differ from those behind `sums`, in pieces of {@link TELL_BYTES} and a decree at most. */
export function* differing(set: DecreeSet, sums: Uint8Array): Generator<readonly Uint8Array[]> {
  const ours = set.sums();
  let piece: Uint8Array[] = [];
  let length = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const [from, to] = [bucket * SUM_BYTES, (bucket + 1) * SUM_BYTES];
    if (equalBytes(ours.subarray(from, to), sums.subarray(from, to))) continue;
    for (const { bytes } of set.encoded(bucket)) {
      if (piece.length > 0 && (length + bytes.length > TELL_BYTES || piece.length === MAX_PIECE)) {
        yield piece;
        piece = [];
        length = 0;
      }
      piece.push(bytes);
      length += bytes.length;
    }
  }
  if (piece.length > 0) yield piece;
}

/** Decrees in one piece: what a message of signaling takes. */
const MAX_PIECE = 240;

/** What became of a decree that was offered. */
export type Ruling =
  | { readonly outcome: "news"; readonly decree: Decree; readonly id: DecreeId }
  /** Nothing to do, and nobody's fault: the signer may be entitled by a list that is still on its way. */
  | { readonly outcome: "known" | "superseded" | "over" | "full" | "unentitled" }
  /** Whoever hands this on has not checked it. */
  | { readonly outcome: "forged" | "malformed" };

/** A decree in the set. */
export interface Held {
  readonly signed: SignedDecree;
  readonly decree: Decree;
  readonly id: DecreeId;
  readonly bucket: number;
}

/** A root's public key and its name, which is a hash of it and asked for at every login to a server. */
interface Root {
  readonly publicKey: Uint8Array;
  readonly kid: string;
}

function rootOf(publicKey: Uint8Array): Root {
  return { publicKey, kid: kidOf(publicKey) };
}

const SUM_BYTES = 8;

/** What decides who may say the rest. It has a part of its own, the first to be compared. */
function isFoundation(decree: Decree): boolean {
  return decree.kind === "succession" || decree.kind === "issuers";
}

function bucketOf(decree: Decree, id: DecreeId): number {
  return isFoundation(decree) ? 0 : 1 + (id.charCodeAt(0) % (BUCKETS - 1));
}

function isOver(decree: Decree, now: Instant): boolean {
  return decree.kind === "revocation" && decree.until !== 0 && decree.until <= now;
}

/** Whether the revocation `a` stays rather than `b` where there is no room for both. */
function precedes(a: Held, b: Held): boolean {
  const [left, right] = [a.decree, b.decree];
  if (left.kind !== "revocation" || right.kind !== "revocation") return false;
  if (left.since !== right.since) return left.since < right.since;
  return compareBytes(a.signed.body, b.signed.body) < 0;
}
