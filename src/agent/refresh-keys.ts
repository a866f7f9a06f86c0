import { join } from "node:path";
import {
  MAX_REFRESH_KEYS,
  REFRESH_KEYS_FILE,
  readRefreshKeys,
  writeRefreshKeys,
} from "../drivers/state/refresh-keys.ts";
import { equalBytes } from "../proto/bytes.ts";
import type { Instant } from "../proto/machine.ts";
import { parseMemberClaims } from "../proto/trust/claims.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import type { Authority } from "../proto/trust/crypto.ts";
import { show } from "../proto/trust/showing.ts";
import type { Trust } from "./trust.ts";

interface RefreshKey {
  readonly seed: Uint8Array;
  readonly authority: Authority;
}

/**
 * The refresh keys of this member, each the successor of the one before. A key is on the disk before anybody hears of it, and stays the
 * successor of its token however often and wherever that is shown: an answer that was lost is asked for again in the same words.
 */
export class RefreshKeys {
  readonly #path: string;
  readonly #trust: Trust;
  readonly #now: () => Instant;
  /** Oldest first; never empty. */
  #chain: readonly RefreshKey[];
  #growing: Promise<unknown> = Promise.resolve();

  private constructor(path: string, trust: Trust, now: () => Instant, chain: readonly RefreshKey[]) {
    this.#path = path;
    this.#trust = trust;
    this.#now = now;
    this.#chain = chain;
  }

  /** The keys of a state directory; makes the first. Rejects with `state-corrupt`, `key-file-permissions` or `state-unavailable`. */
  static async open(stateDirectory: string, trust: Trust, now: () => Instant): Promise<RefreshKeys> {
    const path = join(stateDirectory, REFRESH_KEYS_FILE);
    const seeds = await readRefreshKeys(path);
    const keys = new RefreshKeys(
      path,
      trust,
      now,
      seeds.map((seed) => ({ seed, authority: trust.crypto.authority(seed) })),
    );
    if (seeds.length === 0) await keys.#grow();
    return keys;
  }

  /** The public key that a first token of ours is to name. */
  get first(): Uint8Array {
    return (this.#chain.at(-1) as RefreshKey).authority.publicKey;
  }

  /** Whether the member token names a refresh key of ours, or none. */
  owns(token: string): boolean {
    const key = refreshKeyOf(token);
    return key === undefined || this.#indexOf(key) >= 0;
  }

  /** `credential` as an issuer wants to see it. Rejects with `state-unavailable` when a key cannot be kept. */
  async show(credential: string): Promise<string> {
    const { identity, cluster } = this.#trust;
    const key = refreshKeyOf(credential);
    const turn = this.#growing
      .catch(() => undefined)
      .then(() => (key !== undefined && this.#indexOf(key) === this.#chain.length - 1 ? this.#grow() : undefined));
    this.#growing = turn;
    await turn;
    const index = key === undefined ? -1 : this.#indexOf(key);
    const successor = this.#chain[index < 0 ? this.#chain.length - 1 : index + 1] as RefreshKey;
    const refresh = this.#chain[index]?.authority;
    const named = { nextKey: successor.authority.publicKey, at: Math.floor(this.#now()) };
    return show(credential, named, { clusterId: cluster.clusterId, identity, refresh });
  }

  #indexOf(key: Uint8Array): number {
    return this.#chain.findIndex(({ authority }) => equalBytes(authority.publicKey, key));
  }

  async #grow(): Promise<void> {
    const { crypto } = this.#trust;
    const seed = crypto.generateNodeKey();
    const longer = [...this.#chain, { seed, authority: crypto.authority(seed) }].slice(-MAX_REFRESH_KEYS);
    await writeRefreshKeys(
      this.#path,
      longer.map((key) => key.seed),
    );
    this.#chain = longer;
  }
}

/** The refresh key that a member token names; unchecked. */
function refreshKeyOf(token: string): Uint8Array | undefined {
  const compact = parseCompact(token);
  const claims = compact.ok ? parseMemberClaims(compact.token.payload) : undefined;
  return claims?.ok ? claims.value.lineage?.refreshKey : undefined;
}
