import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { encode } from "../wire/codec.ts";
import type { LoginProof } from "./messages.ts";

/**
 * The statement by which an agent logs in: Ed25519, label `starling/login/1`, over nonce, server name, cluster, peer,
 * instance and the agent's time.
 *
 * The nonce makes it good for one connection; the server name (from the agent's own URL) makes it useless to a server
 * that passes on another's challenge; the cluster keeps one key's sessions apart. Instance and time are for the *fenced*
 * side: a login that it did not make itself, and that is not older than its own start, proves that somebody else holds
 * its key. No server can invent that, nor pass off a login of an earlier run for it.
 */
export function loginBody(
  cluster: string,
  peer: PeerId,
  proof: {
    readonly nonce: Uint8Array;
    readonly serverName: string;
    readonly instance: Uint8Array;
    readonly at: Instant;
  },
): Uint8Array {
  return encode([proof.nonce, proof.serverName, cluster, publicKeyOf(peer), proof.instance, proof.at]);
}

/** The statement to be verified for a login of `peer`. */
export function loginStatement(cluster: string, peer: PeerId, proof: LoginProof): Statement {
  return {
    signer: peer,
    label: "starling/login/1",
    body: loginBody(cluster, peer, proof),
    signature: proof.signature,
  };
}
