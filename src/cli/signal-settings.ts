import { z } from "zod";
import { defaultRoomsLimits, type RoomsLimits } from "../../signaling/proto/limits.ts";
import { StarlingError } from "../errors.ts";
import type { OidcSettings } from "../issuer/oidc-way.ts";
import { isRole } from "../proto/trust/claims.ts";
import { isScope, MAX_SCOPES } from "../proto/trust/scopes.ts";

/**
 * The section `signal` of the configuration file: bounds of a signaling server, under the names of `RoomsLimits`, and an identity
 * provider at which people log in to join.
 *
 *     signal:
 *       limits:
 *         connectionsPerAddress: 64
 *         messages: { perSecond: 50, burst: 200 }
 *       oidc:
 *         issuer: https://id.example
 *         clientId: starling
 *         claim: groups
 *         grants:
 *           - { value: operators, role: admin, scopes: ["*"] }
 *           - { value: "*", role: member, scopes: ["mesh:join", "kv:read:*"] }
 */

const count = z.int().min(1).max(1e9);
const rate = z.strictObject({ perSecond: z.number().positive().max(1e6), burst: z.number().min(1).max(1e6) });

/** Each bound with the form of its default: a whole number, or a rate. */
const limits = z
  .strictObject(
    Object.fromEntries(
      Object.entries(defaultRoomsLimits).map(([name, value]) => [name, typeof value === "number" ? count : rate]),
    ),
  )
  .partial();

const grant = z.strictObject({
  value: z.string().min(1).max(256),
  role: z.string().refine(isRole, "must be 1 to 32 of a-z 0-9 -"),
  scopes: z.array(z.string().refine(isScope, "is no scope")).min(1).max(MAX_SCOPES),
});

const oidc = z.strictObject({
  issuer: z.url().max(2_048),
  clientId: z.string().min(1).max(256),
  claim: z.string().min(1).max(256).default("groups"),
  grants: z.array(grant).min(1).max(64),
});

const section = z.strictObject({ limits: limits.exactOptional(), oidc: oidc.exactOptional() });

/** What a signaling server is told by its configuration file. */
export interface SignalSettings {
  readonly limits: Partial<RoomsLimits>;
  readonly oidc: OidcSettings | undefined;
}

/** Reads the section; throws `config-invalid` that names the setting. */
export function signalSettings(settings: unknown): SignalSettings {
  const parsed = section.safeParse(settings ?? {});
  if (parsed.success) return { limits: (parsed.data.limits ?? {}) as Partial<RoomsLimits>, oidc: parsed.data.oidc };
  const issue = parsed.error.issues[0];
  const where = ["signal", ...(issue?.path ?? [])].join(".");
  throw new StarlingError("config-invalid", `${where}: ${issue?.message ?? "is not valid"}`);
}
