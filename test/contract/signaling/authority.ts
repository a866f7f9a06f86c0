import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import type { Authority } from "../../../signaling/authority.ts";
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
  const peer = peerIdOf(new Uint8Array(der.subarray(-32)));
  return {
    peer,
    keys: {
      askDesk: (token, desks) => fakeRequest(peer, token, desks),
      sign: (label, body) => new Uint8Array(sign(null, signedBytes(label, body), privateKey)),
      verify: (statement) => isValid(statement),
    },
  };
}

/** A request in clear text, to the first desk. */
function fakeRequest(peer: PeerId, token: string, desks: readonly Uint8Array[]): ReturnType<SignalingKeys["askDesk"]> {
  const [desk] = desks;
  if (desk === undefined) return "no desk";
  const request = new TextEncoder().encode(JSON.stringify({ peer, token }));
  return {
    kid: (new TextDecoder().decode(desk).split(" ").at(-1) ?? "").slice(0, 16),
    request,
    open: (answer) => JSON.parse(new TextDecoder().decode(answer)),
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

  /** All of it, as a server wants it. */
  asAuthority(): Authority {
    return {
      desks: this.desks,
      authenticate: async (request) => this.judge(request),
      renew: async (request) => this.extend(request),
      exchange: async ({ cluster, bytes }) => this.answer(cluster, bytes),
      decree: async () => ({}),
      checkDesk: async ({ peer, desk }) => this.known(peer, desk),
      resume: () => undefined,
      sealTicket: async () => undefined,
    };
  }

  /** Its own desk in each cluster. */
  readonly desks = ["cluster-a", "cluster-b"].map((cluster) => ({
    cluster,
    kid: "own",
    desk: new TextEncoder().encode("own"),
  }));

  /** What its desk answers; undefined for what is no request. */
  answer(cluster: string, request: Uint8Array): Uint8Array | undefined {
    const { peer, token } = JSON.parse(new TextDecoder().decode(request)) as { peer: PeerId; token: string };
    const [kind, subject] = token.split(" ");
    const expiresAt = this.#now() + this.lifeMs;
    const good = kind === "join" ? token === joinToken(cluster) : subject === peer;
    const answer =
      good && !this.revoked.has(peer)
        ? { ok: true, token: memberToken(peer, cluster, expiresAt), expiresAt }
        : { ok: false, code: "token-invalid", detail: "" };
    return new TextEncoder().encode(JSON.stringify(answer));
  }

  /** A member's desk is `desk PEERID`. */
  known(peer: PeerId, desk: Uint8Array): { kid: string; desk: Uint8Array } | undefined {
    const [word, holder] = new TextDecoder().decode(desk).split(" ");
    return word === "desk" && holder === peer ? { kid: peer.slice(0, 16), desk } : undefined;
  }

  judge({ cluster, peer, statement, token }: LoginRequest): Admission | Refusal {
    if (cluster !== "cluster-a" && cluster !== "cluster-b") return { ok: false, code: "cluster-unknown" };
    if (statement.signer !== peer || !isValid(statement)) return { ok: false, code: "signature-invalid" };
    if (this.revoked.has(peer)) return { ok: false, code: "token-revoked" };
    const [kind, subject, home, expiry] = token.split(" ");
    if (kind !== "member") return { ok: false, code: "token-invalid" };
    if (home !== cluster) return { ok: false, code: "cluster-unknown", detail: "the token is for another cluster" };
    if (subject !== peer) return { ok: false, code: "token-mismatch" };
    const expiresAt = Number(expiry);
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
