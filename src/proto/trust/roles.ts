import { isRole } from "./claims.ts";
import { allows, checkScopes, DEFAULT_SCOPES, isScope, MAX_SCOPES, SCOPE_JOIN } from "./scopes.ts";

/**
 * Roles: names for lists of scopes, for people. A role is expanded when a token is made, so that what a token allows can be read off
 * it, and nobody who checks one needs to know what a role meant at the time.
 */
export type Roles = ReadonlyMap<string, readonly string[]>;

/** Roles of one's own, at most. */
export const MAX_OWN_ROLES = 64;

/** The role that a token has where none is named. */
export const DEFAULT_ROLE = "member";

/** The roles that every cluster has. Nobody gives them another meaning: one word means one thing to all who administer. */
export const BUILT_IN_ROLES: Roles = new Map([
  ["admin", ["*"]],
  ["developer", ["mesh:join", "kv:*", "stream:*", "topic:*", "service:*", "task:submit"]],
  ["viewer", ["mesh:join", "kv:read:*", "topic:subscribe:*"]],
  ["node", ["mesh:join", "kv:*", "stream:*", "topic:*", "service:expose:*", "task:run", "relay"]],
  [DEFAULT_ROLE, DEFAULT_SCOPES],
]);

/** What a token with this role allows unless its scopes are named; undefined: nobody has said what it means. */
export function scopesOfRole(role: string, own?: Roles): readonly string[] | undefined {
  return BUILT_IN_ROLES.get(role) ?? own?.get(role);
}

/** Why `scopes` cannot be a role of one's own called `name`, for people; undefined when they can. */
export function roleFault(name: string, scopes: readonly string[]): string | undefined {
  if (!isRole(name)) return "a role's name is 1 to 32 of a-z 0-9 -";
  if (BUILT_IN_ROLES.has(name)) return `${name} is built in and keeps its meaning; choose another name`;
  if (scopes.length === 0 || scopes.length > MAX_SCOPES) return `a role has 1 to ${MAX_SCOPES} scopes`;
  const wrong = scopes.find((scope) => !isScope(scope));
  if (wrong !== undefined) return `${JSON.stringify(wrong)} is no scope; write for example kv:read:app, or kv:*`;
  if (checkScopes(scopes) === undefined) return "its scopes are repeated, or together too long for a token";
  if (!allows(scopes, SCOPE_JOIN)) return `without ${SCOPE_JOIN} nobody who has it gets in; add it`;
  return undefined;
}
