import { rename } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { AuditLog } from "../audit.ts";
import { createSigningKeyFile, readSigningKeyFile } from "../drivers/state/key-file.ts";
import { exists } from "../drivers/state/private-files.ts";
import type { StateDirectory } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import type { Logger } from "../options.ts";
import { equalBytes } from "../proto/bytes.ts";
import { type DecreeKind, decreeIdOf, type SignedDecree, signDecree } from "../proto/decrees/decree.ts";
import type { DecreeId } from "../proto/decrees/decree-id.ts";
import { MAX_SUCCESSIONS } from "../proto/decrees/limits.ts";
import { decodeRotation, encodeRotation } from "../proto/decrees/rotation.ts";
import { encodeSuccession } from "../proto/decrees/succession.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Authority, SigningKey } from "../proto/trust/crypto.ts";
import {
  encodeIssuers,
  type IssuerList,
  type IssuingKey,
  issuerOf,
  kidOf,
  MAX_ISSUERS,
} from "../proto/trust/issuers.ts";
import { FormerKeys } from "./former-keys.ts";
import type { Governance } from "./governance.ts";
import { findHeir, type HeirOptions } from "./heir.ts";
import type { KeysOfMember } from "./key-census.ts";
import type { Relaying } from "./relaying.ts";
import type { Storage } from "./storage.ts";
import type { Trust } from "./trust.ts";

/** How a rotation is carried out. */
export interface RotationOptions {
  /** Hears, a line each, how far it is. */
  readonly progress?: (line: string) => void;
  /** How long each step waits for the members that are up, ms. Default 60,000. */
  readonly waitMs?: number;
}

/** A key in the place of another, by their names (`kid`). */
export interface RotatedKey {
  readonly kid: string;
  readonly former: string;
  /** From when on the former counts for nothing, Unix ms; undefined: from now on. */
  readonly endsAt?: Instant;
}

/**
 * How long tokens of a former issuing key count, ms, unless told otherwise: a day, in which every token is renewed once, and the week in
 * which one that has expired still buys a renewal.
 */
export const ISSUING_OVERLAP_MS = 8 * 24 * 3_600_000;
/** The life of an issuing key, ms: five years, as that of the first. */
const ISSUING_KEY_LIFE_MS = 5 * 366 * 24 * 3_600_000;
const WAIT_MS = 60_000;
/** Between two looks at how far members are, ms. */
const LOOK_MS = 250;

/**
 * New keys for those that speak for the cluster, its root and its issuing keys, and for what this agent keeps and lends. Each of the former goes in steps, of which the next
 * begins when all members that are up have taken the one before, so that at no moment two members disagree on whose word counts. A key
 * is on the disk, as `FILE.next`, before anybody hears of it, and takes the place of FILE when everybody has: cut off at any point, the
 * same command goes on where it was.
 *
 * - *Root*: the old root names the new one (`decrees/succession.ts`). What the old one has revoked and rotated the new one says again,
 *   and then signs a list of issuing keys, by which the old one is silenced. Who was away follows the chain.
 * - *Issuing key*: the root signs a list that names the new key beside the old one. Issuers take the new file into use, members renew.
 *   The old key ends by a revocation of itself: after the overlap, or as soon as no member's token is by it any more. It stays in the
 *   list, because values that were signed under its tokens are checked by it.
 */
export class Rotations {
  readonly #trust: Trust;
  readonly #member: HeirOptions & {
    readonly state: Pick<StateDirectory, "writeSuccessor">;
    readonly audit: Pick<AuditLog, "record">;
  };
  readonly #storage: Pick<Storage, "rekey">;
  readonly #relaying: Pick<Relaying, "rotate"> | undefined;
  readonly #governance: Governance;
  readonly #former: FormerKeys;
  readonly #now: () => Instant;
  readonly #census: () => Promise<KeysOfMember[]>;
  #isBusy = false;

  /** @param options `census`: what this member and all others that answer hold. `later`: a timer that ends with the agent. */
  constructor(
    options: Omit<HeirOptions, "trust" | "now"> & {
      readonly trust: Trust;
      readonly state: Pick<StateDirectory, "path" | "writeSuccessor">;
      readonly audit: Pick<AuditLog, "record">;
      readonly storage: Pick<Storage, "rekey">;
      readonly relaying: Pick<Relaying, "rotate"> | undefined;
      readonly governance: Governance;
      readonly log: Logger;
      readonly now: () => Instant;
      readonly census: () => Promise<KeysOfMember[]>;
      readonly later: (ms: number, run: () => void) => void;
    },
  ) {
    this.#trust = options.trust;
    this.#member = options;
    this.#storage = options.storage;
    this.#relaying = options.relaying;
    this.#governance = options.governance;
    const decree = (signed: SignedDecree) => options.governance.take(signed);
    this.#former = new FormerKeys({ ...options, folder: options.state.path, decree });
    this.#now = options.now;
    this.#census = options.census;
  }

  /** Sees to the ends of former keys from here on. */
  begin(): void {
    this.#former.schedule();
  }

  /**
   * Puts a new root key in the place of that in `rootKeyFile`, which is kept as `FILE.former`. Rejects with `issuer-refused` when the
   * file's key is not the root, `conflict` when another rotation came first, `timeout` when members did not follow in time (the same call goes
   * on from there), `limit-reached`.
   */
  root(rootKeyFile: string, options: RotationOptions = {}): Promise<RotatedKey> {
    return this.#alone(async () => {
      const { crypto, decrees } = this.#trust;
      const old = await this.#keyIn(rootKeyFile);
      const next = await this.#nextOf(rootKeyFile, "the root key of a cluster. Move it to a place without a network");
      const heir = crypto.authority(next.seed);
      // Cut off after its first step, the heir is the root already.
      const isNamed = equalBytes(decrees.root, next.publicKey);
      if (!isNamed) await this.#nameHeir(crypto.authority(this.#root(old, rootKeyFile).seed), heir);
      await this.#sayAgain(kidOf(old.publicKey), heir, true);
      const root = kidOf(next.publicKey);
      await this.#spread("the new root", (member) => member.root === root, options);
      if (kidOf(decrees.root) !== root) throw conflict("root key");
      const { version, issuers } = this.#trust.issuers;
      await this.#decree("issuers", encodeIssuers({ version: version + 1, issuers }), heir);
      await this.#spread("its list of issuing keys", (member) => member.issuers > version, options);
      await rename(rootKeyFile, `${rootKeyFile}.former`);
      await rename(`${rootKeyFile}.next`, rootKeyFile);
      return { kid: root, former: kidOf(old.publicKey) };
    });
  }

  /**
   * Puts a new issuing key in the place of that in `keyFile`, with the same ceiling. The old one ends after `overlapMs` (default 8 days;
   * this agent sees to it), or with 0 as soon as no member's token is by it. Rejects as {@link root}, and with `limit-reached` when the list is full.
   */
  issuing(
    keyFile: string,
    rootKeyFile: string,
    options: RotationOptions & { readonly overlapMs?: number } = {},
  ): Promise<RotatedKey> {
    return this.#alone(async () => {
      const { crypto } = this.#trust;
      const root = crypto.authority(this.#root(await this.#keyIn(rootKeyFile), rootKeyFile).seed);
      const old = await this.#keyIn(keyFile);
      const former = kidOf(old.publicKey);
      const entry = issuerOf(this.#trust.issuers, former);
      if (entry === undefined) {
        throw new StarlingError("issuer-refused", `the cluster's list of issuers does not name the key in ${keyFile}`);
      }
      const next = await this.#nextOf(keyFile, "an issuing key of a cluster");
      const kid = kidOf(next.publicKey);
      if (issuerOf(this.#trust.issuers, kid) === undefined) {
        const notAfter = Math.floor(this.#now()) + ISSUING_KEY_LIFE_MS;
        const list = await this.#listWith({ ...entry, kid, publicKey: next.publicKey, notAfter }, root);
        await this.#decree("issuers", encodeIssuers(list), root);
      }
      const { version } = this.#trust.issuers;
      await this.#spread("the new list of issuing keys", (member) => member.issuers >= version, options);
      // A former key has its time from when nobody who is up needs it any more; should members be slow, it has the full one.
      const endIn = (ms: number): Instant => Math.floor(this.#now()) + ms;
      await this.#former.add({ key: old, keyFile, endsAt: endIn(ISSUING_OVERLAP_MS) });
      await rename(`${keyFile}.next`, keyFile);
      await this.#sayAgain(former, crypto.authority(next.seed), false);
      await this.#spread("a token by another key", (member) => member.issuedBy !== former, options).catch((error) => {
        const hint = `${former} counts for 8 days, or until: starling token revoke ${former} --root-key FILE`;
        throw new StarlingError("timeout", `${(error as Error).message}; members renew by themselves. ${hint}`);
      });
      if (options.overlapMs !== 0) {
        const endsAt = endIn(options.overlapMs ?? ISSUING_OVERLAP_MS);
        await this.#former.add({ key: old, keyFile, endsAt });
        return { kid, former, endsAt };
      }
      await this.#former.end({ key: old });
      return { kid, former };
    });
  }

  /**
   * Finds an heir for this member: a new node key with a token on the terms of ours, which the next start of the state directory begins
   * with. The agent is then to leave and be started again, within a minute: what it says later counts for nothing. The heir spreads
   * the revocation of the former key. Rejects as {@link findHeir}, having changed nothing.
   */
  node(): Promise<{ readonly id: PeerId; readonly former: PeerId }> {
    return this.#alone(async () => {
      const heir = await findHeir(this.#member);
      await this.#member.state.writeSuccessor(heir);
      const { id, former } = heir;
      this.#member.audit.record({ action: "node.heir", actor: former, target: id, outcome: "ok" });
      return { id, former };
    });
  }

  /** Seals all values at rest under a new key, while writes go on. The number of rows. Rejects with `usage` for a store in memory. */
  rest({ progress }: RotationOptions = {}): Promise<number> {
    progress?.("every row is sealed with the new key; writes go on");
    return this.#storage.rekey();
  }

  /**
   * A new secret for the relay in this agent; credentials by the one before count for `graceMs` more (default and at most: an hour, by
   * when all have ended). Throws `usage` where this agent does not relay.
   */
  relay(graceMs?: number): void {
    if (this.#relaying === undefined) {
      throw new StarlingError(
        "usage",
        "this agent does not relay; name the secret of other servers with --secret-file",
      );
    }
    this.#relaying.rotate(graceMs);
  }

  /** One at a time: two would take each other's files. */
  async #alone<T>(rotate: () => Promise<T>): Promise<T> {
    if (this.#isBusy)
      throw new StarlingError("conflict", "this agent rotates a key already; wait until that has ended");
    this.#isBusy = true;
    try {
      return await rotate();
    } finally {
      this.#isBusy = false;
    }
  }

  async #keyIn(file: string): Promise<SigningKey> {
    const key = await readSigningKeyFile(file, this.#trust.crypto);
    if (key === undefined) throw new StarlingError("not-found", `there is no key at ${file}; check the path`);
    return key;
  }

  /** The key that is to follow that in `file`: one that was made before and not carried through, else a new one. */
  async #nextOf(file: string, purpose: string): Promise<SigningKey> {
    const { crypto } = this.#trust;
    const path = `${file}.next`;
    if (!(await exists(path))) {
      const seed = crypto.generateNodeKey();
      await createSigningKeyFile(path, { seed, publicKey: crypto.authority(seed).publicKey }, purpose);
    }
    return this.#keyIn(path);
  }

  #root(key: SigningKey, file: string): SigningKey {
    if (equalBytes(key.publicKey, this.#trust.decrees.root)) return key;
    throw new StarlingError("issuer-refused", `the key in ${file} is not the root of this cluster, or no more`);
  }

  async #nameHeir(old: Authority, heir: Authority): Promise<void> {
    const generation = this.#trust.decrees.roots.length;
    if (generation > MAX_SUCCESSIONS) {
      const message = `a cluster's root changes ${MAX_SUCCESSIONS} times at most; make a new cluster`;
      throw new StarlingError("limit-reached", message);
    }
    await this.#decree("succession", encodeSuccession({ generation, publicKey: heir.publicKey }), old);
  }

  /**
   * What the key named `former` has revoked (where `withRevocations`) and rotated, said again by its successor: it counts also when that one
   * counts no more.
   */
  async #sayAgain(former: string, successor: Authority, withRevocations: boolean): Promise<void> {
    const said = [...this.#trust.decrees.by(former)];
    const again = new Map<DecreeId, DecreeId>();
    const decrees: SignedDecree[] = [];
    for (const decree of said.filter(({ kind }) => withRevocations && kind === "revocation")) {
      const repeated = signDecree("revocation", decree.body, successor);
      again.set(decreeIdOf(decree), decreeIdOf(repeated));
      decrees.push(repeated);
    }
    for (const { body } of said.filter(({ kind }) => kind === "rotation")) {
      const rotation = decodeRotation(body);
      // It is carried out by whoever holds the revocations behind it: by the names that they have now.
      const behind = rotation?.behind.map((id) => again.get(id) ?? id) ?? [];
      if (rotation) decrees.push(signDecree("rotation", encodeRotation({ ...rotation, behind }), successor));
    }
    await Promise.all(decrees.map((decree) => this.#governance.take(decree)));
  }

  async #decree(kind: DecreeKind, body: Uint8Array, authority: Authority): Promise<void> {
    const decree: SignedDecree = signDecree(kind, body, authority);
    if (!(await this.#governance.take(decree))) throw conflict(kind === "succession" ? "root key" : "list of issuers");
  }

  /** The list with one more key. Where it is full, the first that has ended makes room; the root says again whom that one has revoked. */
  async #listWith(entry: IssuingKey, root: Authority): Promise<IssuerList> {
    const { decrees, issuers: list } = this.#trust;
    const hasEnded = ({ kid, notAfter }: IssuingKey): boolean => notAfter <= this.#now() || decrees.voids({ kid });
    const over = list.issuers.length < MAX_ISSUERS ? undefined : list.issuers.find(hasEnded);
    if (over === undefined && list.issuers.length >= MAX_ISSUERS) {
      const message = `the list of issuers holds ${MAX_ISSUERS} keys, none of which has ended; revoke one: starling token revoke KID`;
      throw new StarlingError("limit-reached", message);
    }
    if (over !== undefined) await this.#sayAgain(over.kid, root, true);
    return { version: list.version + 1, issuers: [...list.issuers.filter((issuer) => issuer !== over), entry] };
  }

  /** Waits until all members that are up `have` it, and tells how it goes. */
  async #spread(what: string, have: (member: KeysOfMember) => boolean, options: RotationOptions): Promise<void> {
    const end = performance.now() + (options.waitMs ?? WAIT_MS);
    for (let shown = -1; ; ) {
      const members = await this.#census();
      const count = members.filter(have).length;
      if (count !== shown) options.progress?.(`${what}: ${count} of ${members.length} members`);
      shown = count;
      if (count === members.length) return;
      if (performance.now() > end) {
        throw new StarlingError("timeout", `only ${count} of ${members.length} members have ${what}`);
      }
      await delay(LOOK_MS);
    }
  }
}

function conflict(what: string): StarlingError {
  const message = `another change of the ${what} came first; look at \`starling keys list\`, then try again`;
  return new StarlingError("conflict", message);
}
