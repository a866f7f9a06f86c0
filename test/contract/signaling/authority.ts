import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import type { Admission, LoginRequest, Refusal, Renewal, RenewalRequest } from "../../../signaling/proto/events.ts";
import type { SignalingKeys } from "../../../src/drivers/signaling.ts";
import { type PeerId, peerIdOf, publicKeyOf } from "../../../src/proto/peer-id.ts";
import { type Statement, signedBytes } from "../../../src/proto/signed.ts";

/** A node key with what a signaling client wants of it. */
export interface Identity {
  readonly peer: PeerId;
  readonly keys: SignalingKeys;
}

export function createIdentity(): Identity {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const der = publicKey.export({ format: "der", type: "spki" });
  return {
    peer: peerIdOf(new Uint8Array(der.subarray(-32))),
    keys: {
      sign: (label, body) => new Uint8Array(sign(null, signedBytes(label, body), privateKey)),
      verify: (statement) => isValid(statement),
    },
  };
}

export function isValid({ signer, label, body, signature }: Statement): boolean {
  return verify(null, signedBytes(label, body), publicKeyObject(signer), signature);
}

function publicKeyObject(peer: PeerId): KeyObject {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKeyOf(peer)]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

/** A member token of the fake authority: who, where, until when, and whether it is revoked. */
export function memberToken(peer: PeerId, cluster: string, expiresAt: number): string {
  return ["member", peer, cluster, expiresAt].join(" ");
}

export function joinToken(cluster: string): string {
  return ["join", cluster].join(" ");
}

/** Real signatures, tokens in clear text: an authority for tests of everything around it. */
export class FakeAuthority {
  readonly revoked = new Set<PeerId>();
  readonly #now: () => number;
  /** Life of the tokens that it issues, ms. */
  lifeMs = 86_400_000;

  constructor(now: () => number) {
    this.#now = now;
  }

  judge({ cluster, peer, statement, credential }: LoginRequest): Admission | Refusal {
    if (cluster !== "cluster-a" && cluster !== "cluster-b") return { ok: false, code: "cluster-unknown" };
    if (statement.signer !== peer || !isValid(statement)) return { ok: false, code: "signature-invalid" };
    if (this.revoked.has(peer)) return { ok: false, code: "token-revoked" };
    const issued = (): Admission => {
      const expiresAt = this.#now() + this.lifeMs;
      return { ...admit(peer, expiresAt), token: memberToken(peer, cluster, expiresAt) };
    };
    if (credential.kind === "join")
      return credential.token === joinToken(cluster) ? issued() : { ok: false, code: "token-invalid" };
    const [kind, subject, home, expiry] = credential.token.split(" ");
    if (kind !== "member") return { ok: false, code: "token-invalid" };
    if (home !== cluster) return { ok: false, code: "cluster-unknown", detail: "the token is for another cluster" };
    if (subject !== peer) return { ok: false, code: "token-mismatch" };
    const expiresAt = Number(expiry);
    if (credential.kind === "expired") return issued();
    return expiresAt > this.#now() ? admit(peer, expiresAt) : { ok: false, code: "token-expired" };
  }

  extend({ cluster, peer, token }: RenewalRequest): Renewal | Refusal {
    const [, subject] = token.split(" ");
    if (subject !== peer || this.revoked.has(peer)) return { ok: false, code: "token-revoked" };
    const expiresAt = this.#now() + this.lifeMs;
    return { ok: true, subject: peer, expiresAt, scopes: [], token: memberToken(peer, cluster, expiresAt) };
  }
}

function admit(subject: PeerId, expiresAt: number): Admission {
  return { ok: true, subject, expiresAt, scopes: ["mesh"], issuers: new Uint8Array([1, 2, 3]) };
}
