import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompactSign, importJWK } from "jose";
import { afterAll } from "vitest";
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { readSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { type Issuer, type IssuerOptions, openIssuer } from "../../../src/issuer/issuer.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import type { SigningKey } from "../../../src/proto/trust/crypto.ts";
import { acceptIssuers, type IssuerList } from "../../../src/proto/trust/issuers.ts";

/** Clusters on the disk, and hands that forge tokens. */

export const crypto = nodeCrypto();
export const NOW = Date.UTC(2030, 5, 1);
export const HOUR = 3_600_000;

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A folder that is gone after the tests of this file. */
export async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "starling-trust-"));
  folders.push(folder);
  return folder;
}

/** A cluster with everything to issue and to check. */
export interface Lab {
  readonly folder: string;
  readonly cluster: Cluster;
  readonly issuers: IssuerList;
  readonly issuingKeyFile: string;
  readonly issuingKey: SigningKey;
  issuer(change?: Partial<IssuerOptions>): Promise<Issuer>;
}

export async function freshCluster(scopes?: readonly string[]): Promise<Lab> {
  const folder = await freshFolder();
  const created = await createCluster(folder, { now: NOW, ...(scopes && { scopes }) }, crypto);
  const { cluster, issuingKeyFile } = created;
  const issuers = acceptIssuers(cluster.issuers, cluster.rootPublicKey, crypto.verifyAuthority) as IssuerList;
  const issuingKey = (await readSigningKeyFile(issuingKeyFile, crypto)) as SigningKey;
  const options = { keyFile: issuingKeyFile, clusterId: cluster.clusterId, issuers: () => issuers, crypto, now: NOW };
  const issuer = (change = {}) => openIssuer({ ...options, ...change });
  return { folder, cluster, issuers, issuingKeyFile, issuingKey, issuer };
}

/** The identity of a node that nobody has met. */
export function stranger(): PeerId {
  return crypto.nodeIdentity(crypto.generateNodeKey()).id;
}

export function freshKey(): SigningKey {
  const seed = new Uint8Array(randomBytes(32));
  return { seed, publicKey: crypto.authority(seed).publicKey };
}

export const part = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** The header and claims of a token. */
export function opened(token: string): { header: Record<string, unknown>; claims: Record<string, unknown> } {
  const [header, claims] = token
    .split(".")
    .slice(0, 2)
    .map((text) => JSON.parse(Buffer.from(text, "base64url").toString()));
  return { header, claims };
}

/** Any header and claims, signed with a key by jose. */
export async function signed(header: object, claims: object, key: SigningKey): Promise<string> {
  const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");
  const jwk = { kty: "OKP", crv: "Ed25519", d: encode(key.seed), x: encode(key.publicKey) };
  const privateKey = await importJWK(jwk, "EdDSA");
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader(header as { alg: string })
    .sign(privateKey);
}

/** Any header and claims under a MAC whose secret is `secret`. */
export function maced(header: object, claims: object, secret: Uint8Array | string): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}
