import { fromBase64url } from "../base64.ts";
import type { Instant } from "../machine.ts";
import { isRole, MAX_JOIN_USES } from "./claims.ts";
import { type IssuedToken, issuedLine, kidText, parseIssuedLine } from "./issued.ts";
import { isKid } from "./issuers.ts";
import { parseScopes } from "./scopes.ts";
import { isTime } from "./times.ts";

/**
 * A token that was made with an issuing key, as a line of the record beside it: a member token as in `issued.ts`, or a join token.
 *
 *     join ID ROLE USES ISSUED EXPIRES SCOPE[,SCOPE…] [KID]
 */
export type MintedToken = ({ readonly kind: "member" } & IssuedToken) | MintedJoin;

/** A join token that was made. */
interface MintedJoin {
  readonly kind: "join";
  readonly id: string;
  readonly role: string;
  readonly scopes: readonly string[];
  readonly uses: number;
  readonly issuedAt: Instant;
  readonly expiresAt: Instant;
  readonly kid?: string;
}

export function mintedLine(token: MintedToken): string {
  if (token.kind === "member") return issuedLine(token);
  const { id, role, uses, issuedAt, expiresAt, scopes, kid } = token;
  return `join ${id} ${role} ${uses} ${issuedAt} ${expiresAt} ${scopes.join(",")}${kidText(kid)}`;
}

/** The opposite of {@link mintedLine}; undefined for anything else. Never throws. */
export function parseMintedLine(line: string): MintedToken | undefined {
  const member = parseIssuedLine(line);
  if (member !== undefined) return { kind: "member", ...member };
  const fields = line.split(" ");
  const [kind, id = "", role, count, issued, expires, scope = "", kid] = fields;
  const [uses, issuedAt, expiresAt] = [count, issued, expires].map(Number) as [number, number, number];
  const scopes = parseScopes(scope.replaceAll(",", " "));
  if (
    kind !== "join" ||
    (fields.length !== 7 && !isKid(kid)) ||
    fields.length > 8 ||
    fromBase64url(id)?.length !== 16 ||
    !isRole(role)
  )
    return undefined;
  if (!Number.isSafeInteger(uses) || uses < 1 || uses > MAX_JOIN_USES || scopes === undefined) return undefined;
  if (!isTime(issuedAt) || !isTime(expiresAt)) return undefined;
  return { kind, id, role, scopes, uses, issuedAt, expiresAt, ...(kid !== undefined && { kid }) };
}

/** For filters. */
export function isMinted(token: MintedToken | undefined): token is MintedToken {
  return token !== undefined;
}
