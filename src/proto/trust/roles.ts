import { DEFAULT_SCOPES } from "./scopes.ts";

/**
 * Roles: names for lists of scopes, for people. A role is expanded when a token is made, so that what a token allows can be read off
 * it, and nobody who checks one needs to know what a role meant at the time.
 */
const ROLES: ReadonlyMap<string, readonly string[]> = new Map([
  ["admin", ["*"]],
  ["developer", ["mesh:join", "kv:*", "stream:*", "topic:*", "service:*", "task:submit"]],
  ["viewer", ["mesh:join", "kv:read:*", "topic:subscribe:*"]],
  ["node", ["mesh:join", "kv:*", "stream:*", "topic:*", "service:expose:*", "task:run", "relay"]],
]);

/** What a token with this role allows unless its scopes are named; a role of your own means what an invite grants by default. */
export function scopesOfRole(role: string): readonly string[] {
  return ROLES.get(role) ?? DEFAULT_SCOPES;
}
