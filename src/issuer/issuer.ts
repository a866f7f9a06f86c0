import { stat } from "node:fs/promises";
import { acquireLock } from "../drivers/state/lock.ts";
import { openUseJournal, type UseJournal } from "../drivers/state/use-journal.ts";
import { createTokenVerifier, type TokenVerifier } from "../drivers/tokens.ts";
import type { SignedDecree } from "../proto/decrees/decree.ts";
import { encodeRevocation } from "../proto/decrees/revocation.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { type Expectation, MEMBER_LIFE_MS, RENEWAL_GRACE_MS } from "../proto/trust/claims.ts";
import type { Desk } from "../proto/trust/desk.ts";
import { issuerOf } from "../proto/trust/issuers.ts";
import { type IssuedMember, type IssueFault, type Mint, type MintOptions, openMint } from "./mint.ts";
import type { WayIn } from "./ways-in.ts";

/**
 * The issuer: a process that holds an issuing key and answers those who want a member token.
 *
 * - *Exchange*: a join token of this very key becomes a member token for the node key that asks. The use is on the disk
 *   before the answer leaves, so that no crash gives a use twice; and whoever has spent a use gets a token again for the
 *   asking, so that a lost answer costs nothing.
 * - *Renewal*: a member token of any key of the cluster, valid or expired less than seven days ago, becomes a new one with
 *   the same scopes, role and place, and as long a life, a day at least.
 *
 * A rotation puts another key into the file: it is taken into use as soon as the list of issuers names it. Join tokens of the key before
 * are exchanged on, since this journal has counted their uses, until the process ends or that key counts no more.
 *
 * Whoever calls has seen the subject prove its key; a token alone proves nothing here. Only one process at a time can be the
 * issuer of a key file. Several issuers with keys of their own serve one cluster; they share the secret of places.
 */
export interface Issuer extends Mint, AsyncDisposable {
  /** Names of the keys whose join tokens are exchanged here: the one in use first. */
  readonly kids: readonly string[];
  /** A member token for `subject`, for a join token. Rejects with `state-unavailable` when the disk fails. */
  exchange(joinToken: string, subject: PeerId, now: Instant): Promise<IssuedMember>;
  /**
   * A member token for `subject`, for something that is no token of the cluster: an API key, a login. Rejects when nobody can
   * tell at the moment.
   */
  admit(credential: string, subject: PeerId, now: Instant): Promise<IssuedMember>;
  /** A new member token for `subject`, for its old one. */
  renew(memberToken: string, subject: PeerId, now: Instant): Promise<IssuedMember>;
  /** Revokes `subject`: durable when it resolves. Undefined, and nothing done, if this key may not revoke. */
  revoke(subject: PeerId, now: Instant): Promise<SignedDecree | undefined>;
  /** Waits for what is being recorded and gives up the key file. Idempotent. */
  close(): Promise<void>;
}

/** What an issuer needs beyond a {@link Mint}. */
export interface IssuerOptions extends MintOptions {
  /** What is taken in the place of a join token, the first that knows it. Default: nothing. */
  readonly waysIn?: readonly WayIn[];
  /** Whether the cluster's decrees void a token, beyond what this issuer revoked itself. Default: none. */
  readonly voids?: (token: { readonly subject: PeerId; readonly id?: string; readonly kid?: string }) => boolean;
  /** The file holds another key, which is in use. */
  readonly rekeyed?: () => void;
  /** The time at which the journal is opened, Unix ms; what expired long before is forgotten. Default: the system's. */
  readonly now?: Instant;
}

/**
 * Opens the issuer of a key file. Beside the file lie `place.key`, the journal (`.uses`) and a lock (`.lock`). Throws
 * `state-locked` when another process is its issuer, `not-found`, `key-file-permissions`, `weak-key` or `state-corrupt`.
 */
export async function openIssuer(options: IssuerOptions): Promise<Issuer> {
  const mint = await openMint(options);
  const lock = await acquireLock(`${options.keyFile}.lock`);
  try {
    const journal = await openUseJournal(`${options.keyFile}.uses`, options.now ?? Date.now());
    const release = async (): Promise<void> => {
      await journal.close();
      await lock.release();
    };
    return new KeyIssuer(mint, journal, release, options);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** How often the key's file is looked at, ms: a rotation waits that long for its issuers. */
const LOOK_MS = 1_000;

class KeyIssuer implements Issuer {
  /** The mint of the key in use, and of that before. */
  #mints: readonly [Mint, ...Mint[]];
  readonly #look: NodeJS.Timeout;
  #stamp = "";
  readonly #journal: UseJournal;
  readonly #verifier: TokenVerifier = createTokenVerifier();
  readonly #options: IssuerOptions;
  readonly #release: () => Promise<void>;
  #closed: Promise<void> | undefined;

  constructor(mint: Mint, journal: UseJournal, release: () => Promise<void>, options: IssuerOptions) {
    this.#mints = [mint];
    this.#look = setInterval(() => void this.#reload().catch(() => undefined), LOOK_MS).unref();
    this.#journal = journal;
    this.#release = release;
    this.#options = options;
  }

  get kid(): string {
    return this.#mints[0].kid;
  }

  get kids(): readonly string[] {
    return this.#mints.map(({ kid }) => kid);
  }

  issueJoinToken(...request: Parameters<Mint["issueJoinToken"]>): ReturnType<Mint["issueJoinToken"]> {
    return this.#mints[0].issueJoinToken(...request);
  }

  issueMemberToken(...request: Parameters<Mint["issueMemberToken"]>): ReturnType<Mint["issueMemberToken"]> {
    return this.#mints[0].issueMemberToken(...request);
  }

  signDesk(desk: Desk): Uint8Array {
    return (this.#mints.find(({ kid }) => kid === desk.kid) ?? this.#mints[0]).signDesk(desk);
  }

  decree(...said: Parameters<Mint["decree"]>): ReturnType<Mint["decree"]> {
    return this.#mints[0].decree(...said);
  }

  async exchange(joinToken: string, subject: PeerId, now: Instant): Promise<IssuedMember> {
    const checked = await this.#verifier.verifyJoinToken(joinToken, this.#expectation(now));
    if (!checked.ok) return checked;
    const join = checked.value;
    // Only the journal of the key that made it knows how often it was used.
    if (!this.kids.includes(join.kid)) return refuse("other-issuer");
    if (this.#isRevoked({ subject, id: join.id, kid: join.kid })) return refuse("revoked");
    // Made before the use is recorded, so that no use is spent on a refusal; given away only after.
    const issued = await this.issueMemberToken({ subject, scopes: join.scopes, role: join.role }, now);
    if (!issued.ok) return issued;
    const outcome = await this.#journal.use(join, subject, now);
    return outcome === "recorded" ? issued : refuse(outcome === "full" ? "journal-full" : "used-up");
  }

  async admit(credential: string, subject: PeerId, now: Instant): Promise<IssuedMember> {
    for (const way of this.#options.waysIn ?? []) {
      const granted = await way.admit(credential, subject, now);
      if (granted === undefined) continue;
      if (!granted.ok) return granted;
      if (this.#isRevoked({ subject, id: granted.who, kid: this.kid })) return refuse("revoked");
      const { scopes, role, once } = granted;
      const issued = await this.issueMemberToken({ subject, scopes, role }, now);
      if (!issued.ok || once === undefined) return issued;
      const outcome = await this.#journal.use({ ...once, uses: 1 }, subject, now);
      return outcome === "recorded" ? issued : refuse(outcome === "full" ? "journal-full" : "used-up");
    }
    return refuse("bad-credential");
  }

  async renew(memberToken: string, subject: PeerId, now: Instant): Promise<IssuedMember> {
    const checked = await this.#verifier.verifyMemberToken(memberToken, {
      ...this.#expectation(now),
      expectedSubject: subject,
      graceMs: RENEWAL_GRACE_MS,
    });
    if (!checked.ok) return checked;
    if (this.#isRevoked({ subject, id: checked.value.id, kid: checked.value.kid })) return refuse("revoked");
    const { scopes, role, place, issuedAt, expiresAt } = checked.value;
    // The mint refuses what this key may not grant, also if the key that granted it might: the member asks another issuer.
    // A life cut short by the end of an issuing key must not stay short for ever, so it is a day at least.
    const lifeMs = Math.max(MEMBER_LIFE_MS, expiresAt - issuedAt);
    return this.issueMemberToken({ subject, scopes, role, place, lifeMs }, now);
  }

  async revoke(subject: PeerId, now: Instant): Promise<SignedDecree | undefined> {
    const target = { of: "member", peer: subject } as const;
    const revocation = this.decree("revocation", encodeRevocation({ target, since: now, until: 0 }));
    if (revocation !== undefined) await this.#journal.revoke(subject, Math.floor(now));
    return revocation;
  }

  close(): Promise<void> {
    clearInterval(this.#look);
    this.#closed ??= this.#release();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Takes the key in the file into use, if it is another one that the list names. A file that is being replaced is looked at again. */
  async #reload(): Promise<void> {
    const { keyFile, issuers, rekeyed } = this.#options;
    const { mtimeMs, ino } = await stat(keyFile);
    if (this.#stamp === `${mtimeMs}/${ino}`) return;
    const mint = await openMint(this.#options);
    if (mint.kid !== this.kid && issuerOf(issuers(), mint.kid) === undefined) return;
    this.#stamp = `${mtimeMs}/${ino}`;
    if (mint.kid === this.kid || this.#closed !== undefined) return;
    this.#mints = [mint, this.#mints[0]];
    rekeyed?.();
  }

  #isRevoked(token: { readonly subject: PeerId; readonly id: string; readonly kid: string }): boolean {
    return this.#journal.isRevoked(token.subject) || this.#options.voids?.(token) === true;
  }

  #expectation(now: Instant): Expectation {
    return { issuers: this.#options.issuers(), clusterId: this.#options.clusterId, now };
  }
}

function refuse(fault: IssueFault): IssuedMember {
  return { ok: false, fault };
}
