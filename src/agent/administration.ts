import { readSigningKeyFile } from "../drivers/state/key-file.ts";
import { StarlingError } from "../errors.ts";
import { equalBytes } from "../proto/bytes.ts";
import { type DecreeKind, decreeIdOf, type SignedDecree, signDecree } from "../proto/decrees/decree.ts";
import type { DecreeId } from "../proto/decrees/decree-id.ts";
import { MAX_BEHIND } from "../proto/decrees/limits.ts";
import {
  encodeRevocation,
  MAX_TOKEN_MATTERS_MS,
  parseTarget,
  type RevocationTarget,
} from "../proto/decrees/revocation.ts";
import { encodeRotation } from "../proto/decrees/rotation.ts";
import type { Instant } from "../proto/machine.ts";
import { MAX_CLUSTER_KEYS, MAX_KEYRING } from "../proto/trust/cluster.ts";
import { describeWeakness, KEY_BYTES, keyWeakness } from "../proto/trust/key-strength.ts";
import { commitmentTo, encodeSecrets, keyName, type Secrets } from "../proto/trust/keychain.ts";
import type { Governance } from "./governance.ts";
import type { Issuing } from "./issuing.ts";
import { type KeysOfMember, keysOf } from "./key-census.ts";
import type { Trust } from "./trust.ts";

/** How long the cluster key before is accepted after a rotation, ms, unless told otherwise: as long as an expired token buys a renewal. */
export const CLUSTER_KEY_GRACE_MS = 7 * 24 * 3_600_000;

/** Who signs a decree. */
export interface SignWith {
  /** The file of an issuing key, or of the root key. Default: the issuing key of this agent, if it is an issuer. */
  readonly keyFile?: string;
}

/** How secrets change. */
export type Rekeying =
  /** A new cluster key, a new gossip key, or both; those before stay for the grace and for what is under way. */
  | { readonly what: "cluster" | "gossip" | "both"; readonly graceMs?: number }
  /** A gossip key is added at the end of the keyring; a random one when left out. Already there: nothing. */
  | { readonly what: "install"; readonly key?: Uint8Array }
  /** The gossip key of this name seals from here on. */
  | { readonly what: "use"; readonly name: string }
  /** The gossip key of this name is dropped. */
  | { readonly what: "remove"; readonly name: string };

/** What an administrator does to a cluster through one of its members: each is a decree, signed by an issuing key or the root. */
export class Administration {
  readonly #trust: Trust;
  readonly #governance: Governance;
  readonly #issuing: Issuing | undefined;
  readonly #now: () => Instant;
  readonly #census: () => Promise<KeysOfMember[]>;

  /** @param census what the other members that are alive hold. */
  constructor(options: {
    readonly trust: Trust;
    readonly governance: Governance;
    readonly issuing: Issuing | undefined;
    readonly now: () => Instant;
    readonly census: () => Promise<KeysOfMember[]>;
  }) {
    this.#trust = options.trust;
    this.#governance = options.governance;
    this.#issuing = options.issuing;
    this.#now = options.now;
    this.#census = options.census;
  }

  /**
   * Revokes a member (PeerId), a token (`jti`) or an issuing key (`kid`), for good. True if it was news. With `rekey`, the default for
   * members, the cluster gets new secrets right after, which the revoked one never sees. Rejects with `usage` for a name of
   * nothing, `issuer-refused` when the key may not, `not-found` for a key file that is not there.
   */
  async revoke(name: string, options: SignWith & { readonly rekey?: boolean } = {}): Promise<boolean> {
    const target = parseTarget(name);
    if (target === undefined) throw new StarlingError("usage", `${name} names no member, token or issuing key`);
    const since = Math.floor(this.#now());
    const until = target.of === "token" ? since + MAX_TOKEN_MATTERS_MS : 0;
    const decree = await this.#sign("revocation", encodeRevocation({ target, since, until }), options);
    const isNews = await this.#decree(decree, () => this.#isRevoked(target));
    if (isNews && (options.rekey ?? target.of === "member")) {
      await this.rekey({ what: "both" }, { ...options, behind: [decreeIdOf(decree)] });
    }
    return isNews;
  }

  /** Changes the members' secrets. The new epoch, or the present one when there was nothing to do. Rejects as {@link revoke}. */
  async rekey(change: Rekeying, options: SignWith & { readonly behind?: readonly DecreeId[] } = {}): Promise<number> {
    const { keychain, decrees } = this.#trust;
    const secrets = this.#changed(change);
    if (secrets === undefined) return keychain.epoch;
    const encoded = encodeSecrets(secrets);
    const recent = [...decrees.revocations()].sort((a, b) => b.since - a.since).map(({ id }) => id);
    const behind = [...new Set([...(options.behind ?? []), ...recent])].slice(0, MAX_BEHIND);
    const at = Math.floor(this.#now());
    const body = encodeRotation({ epoch: secrets.epoch, commitment: commitmentTo(encoded), behind, at });
    const decree = await this.#sign("rotation", body, options);
    await this.#decree(decree, () => false, encoded);
    if (keychain.epoch !== secrets.epoch) {
      throw new StarlingError("conflict", "another rotation came first; look at `starling keys list`, then try again");
    }
    return secrets.epoch;
  }

  /** Which secrets this member and all others that answer use. */
  async keys(): Promise<KeysOfMember[]> {
    return [keysOf(this.#trust), ...(await this.#census())];
  }

  #changed(change: Rekeying): Secrets | undefined {
    const { secrets } = this.#trust.keychain;
    const epoch = Math.max(secrets.epoch, this.#trust.decrees.rotation?.epoch ?? 1) + 1;
    const { keyring } = secrets;
    switch (change.what) {
      case "cluster":
      case "gossip":
      case "both": {
        const until = Math.floor(this.#now()) + (change.graceMs ?? CLUSTER_KEY_GRACE_MS);
        const fresh = { epoch, key: this.#trust.crypto.randomBytes(KEY_BYTES) };
        const before = secrets.clusterKeys.map((key) => ({ ...key, until: Math.min(key.until ?? until, until) }));
        const alive = before.filter((key) => key.until > this.#now());
        const clusterKeys = change.what === "gossip" ? secrets.clusterKeys : [fresh, ...alive];
        const ring =
          change.what === "cluster" ? keyring : [this.#trust.crypto.randomBytes(KEY_BYTES), ...keyring.slice(0, 1)];
        return { epoch, clusterKeys: clusterKeys.slice(0, MAX_CLUSTER_KEYS), keyring: ring };
      }
      case "install": {
        const key = change.key ?? this.#trust.crypto.randomBytes(KEY_BYTES);
        const weakness = keyWeakness(key);
        if (weakness !== undefined)
          throw new StarlingError("weak-key", `the key ${describeWeakness(weakness)}; leave it out for a random one`);
        if (keyring.some((known) => equalBytes(known, key))) return undefined;
        if (keyring.length >= MAX_KEYRING) {
          throw new StarlingError("limit-reached", `a keyring has at most ${MAX_KEYRING} keys; remove one first`);
        }
        return { ...secrets, epoch, keyring: [...keyring, key] };
      }
      case "use": {
        const key = this.#named(change.name);
        if (key === undefined) throw new StarlingError("not-found", `no gossip key has the name ${change.name}`);
        if (key === keyring[0]) return undefined;
        return { ...secrets, epoch, keyring: [key, ...keyring.filter((other) => other !== key)] };
      }
      case "remove": {
        const key = this.#named(change.name);
        if (key === undefined) return undefined;
        if (key === keyring[0]) {
          throw new StarlingError(
            "usage",
            `${change.name} is in use; take another into use first: starling keys use NAME`,
          );
        }
        return { ...secrets, epoch, keyring: keyring.filter((other) => other !== key) };
      }
    }
  }

  #named(name: string): Uint8Array | undefined {
    return this.#trust.keychain.secrets.keyring.find((key) => keyName(key) === name);
  }

  #isRevoked(target: RevocationTarget): boolean {
    const { decrees } = this.#trust;
    if (target.of === "member") return decrees.revokedSince(target.peer) !== undefined;
    return decrees.voids(target.of === "token" ? { id: target.id } : { kid: target.kid });
  }

  async #sign(
    kind: DecreeKind & ("revocation" | "rotation"),
    body: Uint8Array,
    { keyFile }: SignWith,
  ): Promise<SignedDecree> {
    const { crypto } = this.#trust;
    if (keyFile !== undefined) {
      const key = await readSigningKeyFile(keyFile, crypto);
      if (key === undefined) throw new StarlingError("not-found", `there is no key at ${keyFile}; check the path`);
      return signDecree(kind, body, crypto.authority(key.seed));
    }
    const decree = this.#issuing?.issuer.decree(kind, body);
    if (decree !== undefined) return decree;
    const message =
      "this agent holds no issuing key that may sign this; name one with --issuing-key, or the root's with --root-key";
    throw new StarlingError("issuer-refused", message);
  }

  async #decree(decree: SignedDecree, isDone: () => boolean, secrets?: Uint8Array): Promise<boolean> {
    const wasDone = isDone();
    if (await this.#governance.take(decree, secrets)) return !wasDone;
    if (wasDone) return false;
    const message =
      "the cluster's list of issuers does not let this key decree that; use the root key, or another issuing key";
    throw new StarlingError("issuer-refused", message);
  }
}
