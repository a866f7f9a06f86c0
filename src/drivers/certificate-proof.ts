import { createPrivateKey, type KeyObject, sign, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { StarlingError } from "../errors.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { certificateCredential, certificateProof } from "../proto/trust/certificate.ts";

/**
 * The credential of a certificate (PEM) whose private key is `key` (PEM): a newcomer's, in the place of a join token.
 *
 * @throws `config-invalid` for what is no certificate or key, or two that do not belong together.
 */
export async function showCertificate(options: {
  readonly certFile: string;
  readonly key: string;
  readonly clusterId: string;
  readonly peer: PeerId;
  readonly at: Instant;
}): Promise<string> {
  const { certFile, key: pem, clusterId, peer, at } = options;
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(await readFile(certFile));
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new StarlingError("config-invalid", `${certFile} and its key are not a certificate and a key (PEM)`, {
      cause,
    });
  }
  if (!certificate.checkPrivateKey(key))
    throw new StarlingError("config-invalid", `the key is not that of the certificate in ${certFile}`);
  const own = key.asymmetricKeyType === "ed25519" || key.asymmetricKeyType === "ed448";
  const signature = sign(own ? null : "sha256", certificateProof(clusterId, peer, at), key);
  return certificateCredential({ certificate: certificate.raw, at, signature });
}
