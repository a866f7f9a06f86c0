import { z } from "zod";
import { defaultRoomsLimits, type RoomsLimits } from "../../signaling/proto/limits.ts";
import { StarlingError } from "../errors.ts";
import type { CertificateSettings } from "../issuer/certificate-way.ts";
import type { OidcSettings } from "../issuer/oidc-way.ts";
import { isRole } from "../proto/trust/claims.ts";
import { type Roles, scopesOfRole } from "../proto/trust/roles.ts";
import { isScope, MAX_SCOPES } from "../proto/trust/scopes.ts";

/**
 * The section `signal` of the configuration file: bounds of a signaling server, under the names of `RoomsLimits`, an identity
 * provider at which people log in to join, and an authority whose certificates machines show to join.
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
 *           - { value: staff, role: developer }
 *           - { value: "*", role: member, scopes: ["mesh:join", "kv:read:*"] }
 *       certificates:
 *         ca: /etc/starling/members-ca.pem
 *         grants:
 *           - { value: "DNS:web-1.example", role: node }
 *
 * A grant without scopes grants what its role stands for: one that is built in, or of the section `roles`.
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

const grantSchema = z.strictObject({
  value: z.string().min(1).max(256),
  role: z.string().refine(isRole, "must be 1 to 32 of a-z 0-9 -"),
  scopes: z.array(z.string().refine(isScope, "is no scope")).min(1).max(MAX_SCOPES).exactOptional(),
});

const oidc = z.strictObject({
  issuer: z.url().max(2_048),
  clientId: z.string().min(1).max(256),
  claim: z.string().min(1).max(256).default("groups"),
  grants: z.array(grantSchema).min(1).max(64),
});

const certificates = z.strictObject({
  ca: z.string().min(1).max(1_024),
  grants: z.array(grantSchema).min(1).max(64),
});

const section = z.strictObject({
  limits: limits.exactOptional(),
  oidc: oidc.exactOptional(),
  certificates: certificates.exactOptional(),
});

/** What a signaling server is told by its configuration file. */
export interface SignalSettings {
  readonly limits: Partial<RoomsLimits>;
  readonly oidc: OidcSettings | undefined;
  readonly certificates: CertificateSettings | undefined;
}

/** Reads the section; throws `config-invalid` that names the setting. `roles`: those of one's own. */
export function signalSettings(settings: unknown, roles: Roles): SignalSettings {
  const parsed = section.safeParse(settings ?? {});
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(issue?.path ?? [], issue?.message ?? "is not valid");
  }
  const { limits = {}, oidc, certificates } = parsed.data;
  const grantsOf = (way: "oidc" | "certificates", grants: readonly z.infer<typeof grantSchema>[]) =>
    grants.map((grant, index) => expanded(grant, [way, "grants", index], roles));
  return {
    limits: limits as Partial<RoomsLimits>,
    oidc: oidc && { ...oidc, grants: grantsOf("oidc", oidc.grants) },
    certificates: certificates && { ...certificates, grants: grantsOf("certificates", certificates.grants) },
  };
}

function expanded(
  grant: z.infer<typeof grantSchema>,
  path: readonly PropertyKey[],
  roles: Roles,
): OidcSettings["grants"][number] {
  const scopes = grant.scopes ?? scopesOfRole(grant.role, roles);
  if (scopes !== undefined) return { ...grant, scopes };
  const message = `there is no role ${JSON.stringify(grant.role)}; name its scopes here or in the section roles`;
  throw invalid(path, message);
}

function invalid(path: readonly PropertyKey[], message: string): StarlingError {
  return new StarlingError("config-invalid", `${["signal", ...path].join(".")}: ${message}`);
}
