import { type KeyObject, verify, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { StarlingError } from "../errors.ts";
import type { Instant } from "../proto/machine.ts";
import { certificateOf, certificateProof } from "../proto/trust/certificate.ts";
import type { Granted, WayIn } from "./ways-in.ts";

/** An authority that certifies members, and what those become whom it has certified. */
export interface CertificateSettings {
  /** The file (PEM) of one authority or several. */
  readonly ca: string;
  /** The first whose `value` is a name in the certificate holds; `*` fits every certificate of the authority. */
  readonly grants: readonly { readonly value: string; readonly role: string; readonly scopes: readonly string[] }[];
}

/** A certificate is shown at once: a signature older than this, or as far in the future, was kept for something else, ms. */
const MAX_AGE_MS = 600_000;
/** Extended key usage of clients (RFC 5280, section 4.2.1.12). */
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/**
 * Admits whoever shows a certificate that one of the authorities has issued itself, valid now and for clients, and proves for this very node key
 * that its key is at hand. Names are its common name and its alternative names, `DNS:host.example` and the like as OpenSSL writes them. The file of
 * authorities is read anew each time. Lists of revoked certificates are not looked at: a certificate that shall end soon is short-lived, and
 * a member that shall end is revoked.
 */
export function certificateWay({ ca, grants }: CertificateSettings, clusterId: string): WayIn {
  return {
    async admit(credential, asker, now): Promise<Granted | undefined> {
      const shown = certificateOf(credential);
      if (shown === undefined) return undefined;
      const certificate = shown === "malformed" ? undefined : parse(shown.certificate);
      if (shown === "malformed" || certificate === undefined) return { ok: false, fault: "bad-credential" };
      const proof = certificateProof(clusterId, asker, shown.at);
      if (!isSigned(certificate.publicKey, proof, shown.signature)) return { ok: false, fault: "bad-credential" };
      const authorities = await authoritiesIn(ca);
      if (!isClient(certificate) || !authorities.some((authority) => hasIssued(authority, certificate, now)))
        return { ok: false, fault: "bad-credential" };
      if (Math.abs(now - shown.at) > MAX_AGE_MS || !isValid(certificate, now)) return { ok: false, fault: "expired" };
      const names = namesIn(certificate);
      const grant = grants.find(({ value }) => value === "*" || names.includes(value));
      if (grant === undefined) return { ok: false, fault: "missing-scope" };
      return { ok: true, scopes: grant.scopes, role: grant.role, who: `x509:${names[0] ?? certificate.serialNumber}` };
    },
  };
}

function parse(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

function isSigned(key: KeyObject, proof: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(digestFor(key), proof, key, signature);
  } catch {
    // A key of a kind that signs nothing.
    return false;
  }
}

/** The digest that a key of this kind signs; Ed25519 and Ed448 bring their own. */
function digestFor({ asymmetricKeyType }: KeyObject): "sha256" | null {
  return asymmetricKeyType === "ed25519" || asymmetricKeyType === "ed448" ? null : "sha256";
}

async function authoritiesIn(file: string): Promise<readonly X509Certificate[]> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new StarlingError("config-invalid", `cannot read the authorities in ${file}`, { cause });
  });
  return (text.match(PEM) ?? []).map((pem) => new X509Certificate(pem));
}

function hasIssued(authority: X509Certificate, certificate: X509Certificate, now: Instant): boolean {
  if (!authority.ca || !isValid(authority, now) || !certificate.checkIssued(authority)) return false;
  return certificate.verify(authority.publicKey);
}

/** Whether it is no authority itself, and what it is for includes clients. */
function isClient({ ca, keyUsage }: X509Certificate): boolean {
  return !ca && ((keyUsage as readonly string[] | undefined)?.includes(CLIENT_AUTH) ?? true);
}

function isValid({ validFrom, validTo }: X509Certificate, now: Instant): boolean {
  return Date.parse(validFrom) <= now && now <= Date.parse(validTo);
}

/** The common name first; alternative names as OpenSSL writes them. What it had to quote is no name. */
function namesIn({ subject, subjectAltName }: X509Certificate): readonly string[] {
  const common = /^CN=(.+)$/m.exec(subject ?? "")?.[1];
  const others = subjectAltName?.includes('"') ? [] : (subjectAltName?.split(", ") ?? []);
  return [...(common === undefined ? [] : [common]), ...others];
}
