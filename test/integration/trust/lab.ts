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
import { base64url } from "../../../src/proto/base64.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import type { Authority, NodeIdentity, SigningKey } from "../../../src/proto/trust/crypto.ts";
import { acceptIssuers, type IssuerList } from "../../../src/proto/trust/issuers.ts";
import { show } from "../../../src/proto/trust/showing.ts";

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

/** A node that keeps refresh keys as an agent does, in memory. A copy of it is a thief with all that it had at the time. */
export class Node {
  readonly identity: NodeIdentity;
  readonly #clusterId: string;
  /** Oldest first. */
  readonly #keys: Authority[];

  constructor(
    clusterId: string,
    identity = crypto.nodeIdentity(crypto.generateNodeKey()),
    keys: Authority[] = [crypto.authority(crypto.generateNodeKey())],
  ) {
    this.#clusterId = clusterId;
    this.identity = identity;
    this.#keys = keys;
  }

  get id(): PeerId {
    return this.identity.id;
  }

  get refreshKey(): Uint8Array {
    return (this.#keys.at(-1) as Authority).publicKey;
  }

  copy(): Node {
    return new Node(this.#clusterId, this.identity, [...this.#keys]);
  }

  show(credential: string, at: number): string {
    const lineage = opened(credential).claims["ref"];
    const index = this.#keys.findIndex(({ publicKey }) => base64url(publicKey) === lineage);
    if (index === this.#keys.length - 1 && index >= 0) this.#keys.push(crypto.authority(crypto.generateNodeKey()));
    const next = this.#keys[index < 0 ? this.#keys.length - 1 : index + 1] as Authority;
    const by = { clusterId: this.#clusterId, identity: this.identity, refresh: this.#keys[index] };
    return show(credential, { nextKey: next.publicKey, at }, by);
  }
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
