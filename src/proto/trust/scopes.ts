/**
 * Scopes: what a token allows.
 *
 * A scope is 1 to 6 segments joined by colons, from general to particular: `mesh:join`, `kv:read:BUCKET`,
 * `kv:write:BUCKET`, `stream:PROTOCOL`. A last segment `*` stands for one or more further segments of any kind, so `kv:*` allows
 * `kv:read:app` and a bare `*` allows everything. There is no other pattern, no negation, and no scope that implies
 * another: what a token allows can be read off it.
 *
 * An issuing key has a *ceiling*, a list of scopes of the same form: it may grant what its ceiling covers, patterns
 * included, and members refuse a token with anything beyond.
 */

/** One scope, characters: a bucket name and its prefix. */
export const MAX_SCOPE_LENGTH = 128;
/** Scopes in one token or ceiling: what a person can still read. */
export const MAX_SCOPES = 32;
/** All of them joined by spaces, characters: a token with them stays below its own bound. */
const MAX_SCOPES_LENGTH = 1_536;

/** What every member needs to be in the mesh at all. */
export const SCOPE_JOIN = "mesh:join";
/** Allows everything: the ceiling of a cluster's first issuing key. */
export const SCOPE_ALL = "*";
/** What an invite grants unless told otherwise: the mesh, and its values, streams and topics. */
export const DEFAULT_SCOPES: readonly string[] = [SCOPE_JOIN, "kv:*", "stream:*", "topic:*"];

const SCOPE = /^(?:[A-Za-z0-9][A-Za-z0-9._~/-]*:){0,5}(?:[A-Za-z0-9][A-Za-z0-9._~/-]*|\*)$/;

/** Whether `text` is a well-formed scope or pattern. */
export function isScope(text: string): boolean {
  return text.length <= MAX_SCOPE_LENGTH && SCOPE.test(text);
}

/** Whether the scope or pattern `granted` covers all that `wanted` allows. Both well-formed. */
export function covers(granted: string, wanted: string): boolean {
  if (granted === wanted || granted === SCOPE_ALL) return true;
  return granted.endsWith(":*") && wanted.length >= granted.length && wanted.startsWith(granted.slice(0, -1));
}

/** Whether one of `granted` covers `wanted`. */
export function allows(granted: readonly string[], wanted: string): boolean {
  for (const scope of granted) if (covers(scope, wanted)) return true;
  return false;
}

/** The first of `scopes` that the ceiling does not cover; undefined when it covers all of them. */
export function aboveCeiling(ceiling: readonly string[], scopes: readonly string[]): string | undefined {
  return scopes.find((scope) => !allows(ceiling, scope));
}

/**
 * The scopes of a token's `scope` claim (joined by single spaces, RFC 8693); undefined when empty, too many, repeated or
 * ill-formed.
 */
export function parseScopes(claim: string): readonly string[] | undefined {
  return claim.length > MAX_SCOPES_LENGTH ? undefined : checkScopes(claim.split(" "));
}

/** `scopes` if they are 1 to {@link MAX_SCOPES} well-formed, different scopes, short enough together; undefined otherwise. */
export function checkScopes(scopes: readonly string[]): readonly string[] | undefined {
  if (scopes.length === 0 || scopes.length > MAX_SCOPES) return undefined;
  if (scopes.join(" ").length > MAX_SCOPES_LENGTH) return undefined;
  if (!scopes.every(isScope) || new Set(scopes).size !== scopes.length) return undefined;
  return scopes;
}
