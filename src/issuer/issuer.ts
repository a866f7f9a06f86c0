import { stat } from "node:fs/promises";
import { acquireLock } from "../drivers/state/lock.ts";
import { openUseJournal, type UseJournal } from "../drivers/state/use-journal.ts";
import { createTokenVerifier, type TokenVerifier } from "../drivers/tokens.ts";
import type { SignedDecree } from "../proto/decrees/decree.ts";
import { encodeRevocation, MAX_TOKEN_MATTERS_MS } from "../proto/decrees/revocation.ts";
import type { TokenNames } from "../proto/decrees/revoked.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import {
  type Expectation,
  lineageOf,
  MAX_MEMBER_LIFE_MS,
  MEMBER_LIFE_MS,
  type MemberClaims,
  RENEWAL_GRACE_MS,
} from "../proto/trust/claims.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import type { Desk } from "../proto/trust/desk.ts";
import { issuerOf } from "../proto/trust/issuers.ts";
import { graver, type Lineage, type RenewalRuling, ruleRenewal, type Successor } from "../proto/trust/lineage.ts";
import { isShownBy, readShowing } from "../proto/trust/showing.ts";
import { heirWay } from "./heir-way.ts";
import {
  type IssuedMember,
  type IssueFault,
  type MemberRequest,
  type Mint,
  type MintOptions,
  openMint,
} from "./mint.ts";
import type { WayIn } from "./ways-in.ts";

/**
 * The issuer: a process that holds an issuing key and answers those who want a member token.
 *
 * - *Exchange*: a join token of this very key becomes a member token for the node key that asks. The use is on the disk
 *   before the answer leaves, so that no crash gives a use twice; and whoever has spent a use gets a token again for the
 *   asking, so that a lost answer costs nothing.
 * - *Renewal*: a member token of any key of the cluster, valid or expired less than seven days ago, becomes a new one with
 *   the same scopes, role and place, and as long a life, a day at least. It is shown with the signatures of `trust/showing.ts`; a
 *   refresh key that two have used ends the whole line of tokens (`trust/lineage.ts`).
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
  /** A member token for `subject`, for a join token, shown with the refresh key that it shall name or alone. Rejects with `state-unavailable` when the disk fails. */
  exchange(shown: string, subject: PeerId, now: Instant): Promise<IssuedMember>;
  /**
   * A member token for `subject`, for something that is no token of the cluster: an API key, a login. Rejects when nobody can
   * tell at the moment.
   */
  admit(shown: string, subject: PeerId, now: Instant): Promise<IssuedMember>;
  /** A new member token for `subject`, for its old one as `showing.ts` shows it. Rejects with `state-unavailable` when the disk fails. */
  renew(shown: string, subject: PeerId, now: Instant): Promise<IssuedMember>;
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
  readonly voids?: (token: TokenNames) => boolean;
  /** The newest token of a member that the cluster knows of. Default: what this issuer has issued is all that it knows. */
  readonly newestOf?: (subject: PeerId) => Lineage | undefined;
  /** Two have used one refresh key. Nothing of the line is renewed here from now on; the rest of the cluster is to be told. */
  readonly reused?: (reuse: RefreshReuse) => void;
  /** The file holds another key, which is in use. */
  readonly rekeyed?: () => void;
  /** A member has an heir since a minute: puts its revocation in force, should the heir not have done so. */
  readonly retired?: (revocation: SignedDecree) => void;
  /** The time at which the journal is opened, Unix ms; what expired long before is forgotten. Default: the system's. */
  readonly now?: Instant;
}

/** A refresh key was used by two. */
export interface RefreshReuse {
  readonly subject: PeerId;
  /** The id of the first token of the line: what a revocation of all of them names. */
  readonly family: string;
  /** The revocation of all of them; undefined where the issuing key may not revoke, and they end by themselves. */
  readonly revocation: SignedDecree | undefined;
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

/**
 * How long after it has named its heir what a member says still counts, ms, by the later of its clock and ours: it leaves, and the heir comes.
 */
const RETIRE_MS = 60_000;
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
  readonly #ways: readonly WayIn[];
  readonly #release: () => Promise<void>;
  #closed: Promise<void> | undefined;

  constructor(mint: Mint, journal: UseJournal, release: () => Promise<void>, options: IssuerOptions) {
    this.#mints = [mint];
    this.#look = setInterval(() => void this.#reload().catch(() => undefined), LOOK_MS).unref();
    this.#journal = journal;
    this.#release = release;
    this.#options = options;
    const heirs = heirWay(options, this.#verifier, (token) => this.#isRevoked(token));
    this.#ways = [heirs, ...(options.waysIn ?? [])];
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

  async issueMemberToken(request: MemberRequest, now: Instant): Promise<IssuedMember> {
    const issued = await this.#mints[0].issueMemberToken(request, now);
    return issued.ok ? this.#remembered(issued) : issued;
  }

  signDesk(desk: Desk): Uint8Array {
    return (this.#mints.find(({ kid }) => kid === desk.kid) ?? this.#mints[0]).signDesk(desk);
  }

  decree(...said: Parameters<Mint["decree"]>): ReturnType<Mint["decree"]> {
    return this.#mints[0].decree(...said);
  }

  async exchange(text: string, subject: PeerId, now: Instant): Promise<IssuedMember> {
    const shown = this.#first(text, subject);
    if (!shown.ok) return shown;
    const checked = await this.#verifier.verifyJoinToken(shown.credential, this.#expectation(now));
    if (!checked.ok) return checked;
    const join = checked.value;
    // Only the journal of the key that made it knows how often it was used.
    if (!this.kids.includes(join.kid)) return refuse("other-issuer");
    if (this.#isRevoked({ subject, id: join.id, kid: join.kid })) return refuse("revoked");
    // Made before the use is recorded, so that no use is spent on a refusal; given away only after.
    const terms = { subject, scopes: join.scopes, role: join.role, ...shown.refresh };
    const issued = await this.#mints[0].issueMemberToken(terms, now);
    return issued.ok ? this.#once(issued, join, now) : issued;
  }

  async admit(text: string, subject: PeerId, now: Instant): Promise<IssuedMember> {
    const shown = this.#first(text, subject);
    if (!shown.ok) return shown;
    for (const way of this.#ways) {
      const granted = await way.admit(shown.credential, subject, now);
      if (granted === undefined) continue;
      if (!granted.ok) return granted;
      if (this.#isRevoked({ subject, id: granted.who, kid: this.kid })) return refuse("revoked");
      const { scopes, role, once, replaces } = granted;
      const life = granted.lifeMs === undefined ? {} : { lifeMs: Math.max(MEMBER_LIFE_MS, granted.lifeMs) };
      const issued = await this.#mints[0].issueMemberToken({ subject, scopes, role, ...life, ...shown.refresh }, now);
      if (!issued.ok) return issued;
      if (once === undefined) return this.#remembered(issued);
      const used = await this.#once(issued, { ...once, uses: 1 }, now);
      return used.ok && replaces ? { ...used, ...this.#retire(replaces, now) } : used;
    }
    return refuse("bad-credential");
  }

  async renew(text: string, subject: PeerId, now: Instant): Promise<IssuedMember> {
    const shown = readShowing(text);
    if (shown === undefined) return refuse("malformed");
    const checked = await this.#verifier.verifyMemberToken(shown.credential, {
      ...this.#expectation(now),
      expectedSubject: subject,
      graceMs: RENEWAL_GRACE_MS,
    });
    if (!checked.ok) return checked;
    const token = checked.value;
    const lineage = lineageOf(token);
    if (this.#isRevoked(token) || this.#journal.issued.isBroken(lineage.family)) return refuse("revoked");
    const { crypto, clusterId } = this.#options;
    const { proof } = shown;
    if (proof === undefined || !isShownBy(subject, lineage.refreshKey, shown, clusterId, crypto))
      return refuse("refresh-invalid");
    const ruling = this.#rule(subject, lineage, proof);
    if (ruling === "reused") return this.#end(token, lineage.family, now);
    if (ruling === "stale") return refuse("refresh-stale");
    const line = { family: lineage.family, generation: lineage.generation + 1 };
    // Taken before anything is awaited: of two requests at a time one is the next.
    this.#journal.issued.advance({ ...line, refreshKey: proof.nextKey, issuedAt: Math.floor(now) });
    const { scopes, role, place, issuedAt, expiresAt } = token;
    // The mint refuses what this key may not grant, also if the key that granted it might: the member asks another issuer.
    // A life cut short by the end of an issuing key must not stay short for ever, so it is a day at least.
    const lifeMs = Math.max(MEMBER_LIFE_MS, expiresAt - issuedAt);
    const terms = { subject, scopes, role, place, lifeMs, line, refreshKey: proof.nextKey };
    const issued = await this.#mints[0].issueMemberToken(terms, now);
    return issued.ok ? this.#remembered(issued) : issued;
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

  #retire({ subject, at }: { readonly subject: PeerId; readonly at: Instant }, now: Instant) {
    const since = Math.floor(Math.max(now, at)) + RETIRE_MS;
    const body = encodeRevocation({ target: { of: "member", peer: subject }, since, until: 0 });
    const retires = this.decree("revocation", body);
    if (retires === undefined) return {};
    setTimeout(() => this.#options.retired?.(retires), RETIRE_MS).unref();
    return { retires };
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

  /** What is shown for a first token, by whom it may be: with a refresh key that its asker has signed, or with none. */
  #first(text: string, subject: PeerId): First {
    const shown = readShowing(text);
    if (shown === undefined) return { ok: false, fault: "malformed" };
    const { credential, proof } = shown;
    if (proof === undefined) return { ok: true, credential, refresh: {} };
    if (!isShownBy(subject, undefined, shown, this.#options.clusterId, this.#options.crypto))
      return { ok: false, fault: "refresh-invalid" };
    return { ok: true, credential, refresh: { refreshKey: proof.nextKey } };
  }

  /** By what was issued here, and by what the cluster shows of the member. */
  #rule(subject: PeerId, lineage: Lineage, successor: Successor): RenewalRuling {
    const here = ruleRenewal(this.#journal.issued.newest(lineage.family), lineage, successor);
    const seen = this.#options.newestOf?.(subject);
    return seen?.family === lineage.family ? graver(here, ruleRenewal(seen, lineage, successor)) : here;
  }

  /** Two hold the refresh key of this token: the line ends, here at once and everywhere by a revocation of its first token. */
  async #end(token: MemberClaims, family: string, now: Instant): Promise<IssuedMember> {
    const target = { of: "token", id: family } as const;
    const since = Math.floor(now);
    const body = encodeRevocation({ target, since, until: since + MAX_TOKEN_MATTERS_MS });
    await this.#journal.break(family, token.subject, now, Math.max(token.expiresAt, now + MAX_MEMBER_LIFE_MS));
    this.#options.reused?.({ subject: token.subject, family, revocation: this.decree("revocation", body) });
    return refuse("refresh-reused");
  }

  async #once(issued: Issued, join: Parameters<UseJournal["use"]>[0], now: Instant): Promise<IssuedMember> {
    const outcome = await this.#journal.use(join, issued.claims.subject, now);
    if (outcome !== "recorded") return refuse(outcome === "full" ? "journal-full" : "used-up");
    return this.#remembered(issued);
  }

  async #remembered(issued: Issued): Promise<IssuedMember> {
    // Another key may have come into use since it was signed.
    const parsed = parseCompact(issued.token);
    const kid = parsed.ok ? parsed.token.kid : this.kid;
    await this.#journal.remember({ ...issued.claims, lineage: lineageOf(issued.claims), kid });
    return issued;
  }

  #isRevoked(token: TokenNames & { readonly subject: PeerId }): boolean {
    return this.#journal.isRevoked(token.subject) || this.#options.voids?.(token) === true;
  }

  #expectation(now: Instant): Expectation {
    return { issuers: this.#options.issuers(), clusterId: this.#options.clusterId, now };
  }
}

type Issued = Extract<IssuedMember, { readonly ok: true }>;

/** See {@link KeyIssuer}. */
type First =
  | { readonly ok: true; readonly credential: string; readonly refresh: { readonly refreshKey?: Uint8Array } }
  | { readonly ok: false; readonly fault: IssueFault };

function refuse(fault: IssueFault): IssuedMember {
  return { ok: false, fault };
}
