import { RecentMap } from "../bounded.ts";
import { hex, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { PeerId } from "../peer-id.ts";
import type { Batch } from "./batch.ts";
import { MAX_TOKEN_AUTHORS, MAX_TOKEN_CANDIDATES, MAX_TOKENS } from "./limits.ts";

/**
 * The tokens that prove entries, by their hash.
 *
 * A batch names its author's token by hash. The token itself comes from the author's member record while it is
 * current, or from the peer that sent the batch. A token stays here as long as a stored entry needs it, so that this
 * replica can prove the entry to others after its author has renewed the token or has gone. Nothing here is believed:
 * a token counts only through a verification at the batch's clock, and its hash is under the author's signature.
 */
export class Tokens {
  readonly #tokenOf: (author: PeerId) => string | undefined;
  readonly #held: Map<string, { readonly token: string; uses: number }>;
  readonly #candidates = new RecentMap<string, string>(MAX_TOKEN_CANDIDATES);
  readonly #current = new RecentMap<PeerId, { readonly token: string; readonly hash: string }>(MAX_TOKEN_AUTHORS);

  readonly #names = new WeakMap<Uint8Array, string>();

  readonly #kept: (name: string, token: string | undefined) => void;

  /**
   * @param tokenOf the token in a member's current record.
   * @param kept told when a token begins to be needed, and (undefined) when it is needed no more.
   * @param held tokens by name, with the number of entries that each proves.
   */
  constructor(
    tokenOf: (author: PeerId) => string | undefined,
    kept: (name: string, token: string | undefined) => void,
    held: Map<string, { readonly token: string; uses: number }> = new Map(),
  ) {
    this.#tokenOf = tokenOf;
    this.#kept = kept;
    this.#held = held;
  }

  /** The token with that hash; the author's current record is looked at last. */
  find(hash: Uint8Array, author: PeerId): string | undefined {
    const name = hex(hash);
    const known = this.byName(name);
    if (known !== undefined) return known;
    const token = this.#tokenOf(author);
    if (token === undefined) return undefined;
    let current = this.#current.get(author);
    if (current?.token !== token) {
      current = { token, hash: hex(tokenHash(token)) };
      this.#current.set(author, current);
    }
    if (current.hash !== name) return undefined;
    // Noted, so that it can be passed on with the batch that it proves.
    this.#candidates.set(name, token);
    return token;
  }

  /** The token whose hash is `name` in hexadecimal, if it was held or received. */
  byName(name: string): string | undefined {
    return this.#held.get(name)?.token ?? this.#candidates.get(name);
  }

  /** The token that proves a stored batch. */
  proofOf({ tokenHash: hash }: Batch): string | undefined {
    return this.#held.get(this.#nameOf(hash))?.token;
  }

  /** Takes note of a token that was asked for; ignores any other. */
  offer(token: string, asked: readonly string[]): void {
    const name = hex(tokenHash(token));
    if (asked.includes(name)) this.#candidates.set(name, token);
  }

  /** Whether the token with that hash can be held: it is already, or there is room. */
  hasRoomFor(hash: Uint8Array): boolean {
    return this.#held.size < MAX_TOKENS || this.#held.has(hex(hash));
  }

  /** The hash in hexadecimal, made once per batch. */
  #nameOf(hash: Uint8Array): string {
    let name = this.#names.get(hash);
    if (name === undefined) {
      name = hex(hash);
      this.#names.set(hash, name);
    }
    return name;
  }

  /** Keeps the token with that hash for one more entry. */
  retain(hash: Uint8Array, token: string): void {
    const name = this.#nameOf(hash);
    const held = this.#held.get(name);
    if (held !== undefined) {
      held.uses++;
      return;
    }
    this.#held.set(name, { token, uses: 1 });
    this.#kept(name, token);
  }

  /** Releases the token for one entry less. */
  release(hash: Uint8Array): void {
    const name = this.#nameOf(hash);
    const held = this.#held.get(name);
    if (held === undefined || --held.uses > 0) return;
    this.#held.delete(name);
    this.#kept(name, undefined);
  }
}

/** How a batch names a token: SHA-256 of its text. */
export function tokenHash(token: string): Uint8Array {
  return sha256(utf8(token));
}
