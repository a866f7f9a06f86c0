import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from "jose";
import { StarlingError } from "../errors.ts";
import { base64url } from "../proto/base64.ts";
import { utf8 } from "../proto/bytes.ts";
import { sha256 } from "../proto/hash.ts";
import { idTokenOf, oidcNonce } from "../proto/trust/oidc.ts";
import { CLOCK_LEEWAY_MS } from "../proto/trust/times.ts";
import type { Granted, WayIn } from "./ways-in.ts";

/** An identity provider, and what its people become. */
export interface OidcSettings {
  /** Its issuer URL: `https://`, or `http://` on loopback. */
  readonly issuer: string;
  /** Our client id there: the `aud` of its ID tokens. */
  readonly clientId: string;
  /** The claim that decides, a text or a list of texts. */
  readonly claim: string;
  /** The first whose `value` is in the claim holds; `*` fits everybody who can log in. */
  readonly grants: readonly { readonly value: string; readonly role: string; readonly scopes: readonly string[] }[];
}

/** Asymmetric algorithms only: with a shared secret whoever checks a token could make one. */
const ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"];
/** A login is used at once: a token older than this was kept for something else, s. */
const MAX_AGE_S = 600;
/** How long the provider may take to tell of itself, ms. */
const DISCOVERY_MS = 5_000;
/** Its description of itself, bytes. */
const MAX_DISCOVERY_BYTES = 65_536;

type KeySet = ReturnType<typeof createRemoteJWKSet>;

/**
 * Admits whoever has logged in at an identity provider: by an ID token that the provider has signed for our client within the last ten
 * minutes, for this very node key (`oidcNonce`), or for nobody's and then once. Its keys are fetched from where its discovery document says, and again when one is
 * not known. Throws `config-invalid` for an issuer URL that is not to be trusted.
 */
export function oidcWay(settings: OidcSettings, clusterId: string): WayIn {
  checkUrl(settings.issuer, "the issuer");
  let keys: Promise<KeySet> | undefined;
  return {
    async admit(credential, asker, now): Promise<Granted | undefined> {
      const token = idTokenOf(credential);
      if (token === undefined) return undefined;
      keys ??= discover(settings.issuer);
      const found = await keys.catch((error: unknown) => {
        keys = undefined;
        throw error;
      });
      try {
        const { payload } = await jwtVerify(token, found, {
          issuer: settings.issuer,
          audience: settings.clientId,
          algorithms: ALGORITHMS,
          maxTokenAge: MAX_AGE_S,
          clockTolerance: CLOCK_LEEWAY_MS / 1_000,
          currentDate: new Date(now),
          requiredClaims: ["sub", "iat", "exp"],
        });
        // With several audiences the token is for the party that it was issued to (OpenID Connect Core 1.0, section 3.1.3.7).
        if (payload["azp"] !== undefined && payload["azp"] !== settings.clientId) return refuse("bad-credential");
        const { nonce } = payload;
        if (nonce !== undefined && nonce !== oidcNonce(clusterId, asker)) return refuse("wrong-subject");
        return granted(settings, payload, nonce === undefined ? onceOnly(token, payload) : {});
      } catch (error) {
        if (error instanceof errors.JWTExpired) return refuse("expired");
        if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout))
          return refuse("bad-credential");
        throw error;
      }
    },
  };
}

/** A login by a device carries no nonce at most providers: it is nobody's, and good for whoever shows it first. */
function onceOnly(token: string, { iat = 0 }: JWTPayload): Pick<Extract<Granted, { ok: true }>, "once"> {
  const id = base64url(sha256(utf8(token)).subarray(0, 16));
  return { once: { id, expiresAt: (iat + MAX_AGE_S) * 1_000 + CLOCK_LEEWAY_MS } };
}

function granted(
  { claim, grants }: OidcSettings,
  payload: JWTPayload,
  terms: Pick<Extract<Granted, { ok: true }>, "once">,
): Granted {
  const value = payload[claim];
  const values = Array.isArray(value) ? value : [value];
  const grant = grants.find((one) => one.value === "*" || values.includes(one.value));
  if (grant === undefined) return refuse("missing-scope");
  return { ok: true, scopes: grant.scopes, role: grant.role, who: `oidc:${payload.sub}`, ...terms };
}

function refuse(fault: Extract<Granted, { ok: false }>["fault"]): Granted {
  return { ok: false, fault };
}

async function discover(issuer: string): Promise<KeySet> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const response = await fetch(url, { signal: AbortSignal.timeout(DISCOVERY_MS), redirect: "error" });
  const text = await response.text();
  if (!response.ok || text.length > MAX_DISCOVERY_BYTES) throw new Error(`${url} answers ${response.status}`);
  const document = JSON.parse(text) as { issuer?: unknown; jwks_uri?: unknown };
  if (document.issuer !== issuer || typeof document.jwks_uri !== "string")
    throw new Error(`${url} describes another issuer`);
  return createRemoteJWKSet(checkUrl(document.jwks_uri, "the key set"), { timeoutDuration: DISCOVERY_MS });
}

function checkUrl(text: string, what: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLoopback = url !== undefined && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback)) return url;
  throw new StarlingError("config-invalid", `oidc: ${what} must be an https:// URL, not ${JSON.stringify(text)}`);
}
