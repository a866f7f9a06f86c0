import { base64url, fromBase64url } from "../base64.ts";
import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, parsePeerId } from "../peer-id.ts";
import { isRole, RENEWAL_GRACE_MS } from "./claims.ts";
import { isKid } from "./issuers.ts";
import { type Lineage, MAX_GENERATION } from "./lineage.ts";
import { parseScopes } from "./scopes.ts";
import { CLOCK_LEEWAY_MS, isTime } from "./times.ts";

/**
 * What an issuer knows of the member tokens that it has issued: the newest of each line (`lineage.ts`), and the lines that have
 * ended because a refresh credential of theirs was used twice. As lines of text:
 *
 *     token FAMILY GENERATION ID PEERID ISSUED EXPIRES REFRESHKEY|- ROLE SCOPE[,SCOPE…] [KID]
 *     broken FAMILY PEERID SINCE UNTIL           until: from here on nothing of the family can matter
 */
export interface IssuedToken {
  readonly id: string;
  readonly subject: PeerId;
  readonly scopes: readonly string[];
  readonly role: string;
  readonly expiresAt: Instant;
  readonly lineage: Lineage;
  /** The issuing key that signed it; absent in what was written before keys were noted. */
  readonly kid?: string;
}

/** A line that has ended. */
interface Broken {
  readonly subject: PeerId;
  readonly since: Instant;
  readonly until: Instant;
}

/** Lines remembered at a time, about 600 bytes each: one for every member of the largest cluster. Beyond, the one renewed longest ago goes. */
export const MAX_FAMILIES = 20_000;
/** Lines that have ended, remembered at a time. */
export const MAX_BROKEN = 20_000;

/** How long after its end a token can still buy something, ms. */
const MATTERS_MS = RENEWAL_GRACE_MS + CLOCK_LEEWAY_MS;

/** See {@link IssuedToken}. */
export class IssuedTokens {
  readonly #newest = new RecentMap<string, Lineage>(MAX_FAMILIES);
  readonly #tokens = new RecentMap<string, IssuedToken>(MAX_FAMILIES);
  readonly #broken = new RecentMap<string, Broken>(MAX_BROKEN);

  /** The newest of a family. */
  newest(family: string): Lineage | undefined {
    return this.#newest.get(family);
  }

  /** Takes the next of a family for issued, before it is signed: two requests at a time must not both be the next. */
  advance(lineage: Lineage): void {
    const known = this.#newest.get(lineage.family);
    if (known === undefined || lineage.generation >= known.generation) this.#newest.set(lineage.family, lineage);
  }

  /** A token was issued. The line that says so. */
  remember(token: IssuedToken): string {
    this.advance(token.lineage);
    this.#tokens.set(token.lineage.family, token);
    return issuedLine(token);
  }

  isBroken(family: string): boolean {
    return this.#broken.has(family);
  }

  /** A family ends. `expiresAt`: of its newest token. The line that says so. */
  break(family: string, subject: PeerId, since: Instant, expiresAt: Instant): string {
    const broken = { subject, since: Math.floor(since), until: Math.floor(expiresAt) + MATTERS_MS };
    this.#broken.set(family, broken);
    return brokenLine(family, broken);
  }

  /** Forgets what cannot matter any more at `now`; false if there was nothing of that kind. */
  forget(now: Instant): boolean {
    const over: string[] = [];
    for (const [family, { expiresAt }] of this.#tokens.entries()) if (expiresAt + MATTERS_MS <= now) over.push(family);
    for (const family of over) {
      this.#tokens.delete(family);
      this.#newest.delete(family);
    }
    const ended: string[] = [];
    for (const [family, { until }] of this.#broken.entries()) if (until <= now) ended.push(family);
    for (const family of ended) this.#broken.delete(family);
    return over.length + ended.length > 0;
  }

  /** The newest token of each family, longest ago first. */
  *list(): Generator<IssuedToken> {
    for (const [, token] of this.#tokens.entries()) yield token;
  }

  *lines(): Generator<string> {
    for (const [, token] of this.#tokens.entries()) yield issuedLine(token);
    for (const [family, broken] of this.#broken.entries()) yield brokenLine(family, broken);
  }

  /** Takes in a line; false when it is not one. */
  recall(line: string): boolean {
    const token = parseIssuedLine(line);
    if (token !== undefined) {
      this.remember(token);
      return true;
    }
    const [kind, family = "", who = "", since, until, ...more] = line.split(" ");
    const subject = parsePeerId(who);
    const broken = { since: Number(since), until: Number(until) };
    if (kind !== "broken" || more.length > 0 || !isId(family) || subject === undefined) return false;
    if (!isTime(broken.since) || !isTime(broken.until)) return false;
    this.#broken.set(family, { subject, ...broken });
    return true;
  }
}

/** The line of a token. */
export function issuedLine({ id, subject, scopes, role, expiresAt, lineage, kid }: IssuedToken): string {
  const { family, generation, refreshKey, issuedAt } = lineage;
  const key = refreshKey === undefined ? "-" : base64url(refreshKey);
  return `token ${family} ${generation} ${id} ${subject} ${issuedAt} ${expiresAt} ${key} ${role} ${scopes.join(",")}${kidText(kid)}`;
}

function brokenLine(family: string, { subject, since, until }: Broken): string {
  return `broken ${family} ${subject} ${since} ${until}`;
}

/** The token in a line; undefined for any other line. Never throws. */
export function parseIssuedLine(line: string): IssuedToken | undefined {
  const fields = line.split(" ");
  const [kind, family = "", gen = "", id = "", who = "", issued, expires, key = "", role, scope = "", kid] = fields;
  if (
    kind !== "token" ||
    (fields.length !== 10 && !isKid(kid)) ||
    fields.length > 11 ||
    !isId(family) ||
    !isId(id) ||
    !isRole(role)
  )
    return undefined;
  const subject = parsePeerId(who);
  const scopes = parseScopes(scope.replaceAll(",", " "));
  const [generation, issuedAt, expiresAt] = [gen, issued, expires].map(Number) as [number, number, number];
  if (!/^\d{1,10}$/.test(gen) || generation > MAX_GENERATION) return undefined;
  const refreshKey = key === "-" ? undefined : fromBase64url(key);
  if (key !== "-" && refreshKey?.length !== 32) return undefined;
  if (subject === undefined || scopes === undefined || !isTime(issuedAt) || !isTime(expiresAt)) return undefined;
  const lineage = { family, generation, refreshKey, issuedAt };
  return { id, subject, scopes, role, expiresAt, lineage, ...(kid !== undefined && { kid }) };
}

/** The end of a line: the issuing key behind the token. */
export function kidText(kid: string | undefined): string {
  return kid === undefined ? "" : ` ${kid}`;
}

function isId(text: string): boolean {
  return text.length === 22 && fromBase64url(text)?.length === 16;
}
