import { createHmac } from "node:crypto";
import { createTokenSigner } from "../../../src/drivers/tokens.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";
import { crypto, type Lab } from "./lab.ts";

/** Ways to sign a member token without an issuing key, and the word by which an agent counts each. */
export const FORGERIES = [
  ["the signature of a key that no root has named", "wrong-issuer"],
  ["the right key's name over another key's signature", "bad-signature"],
  ["no algorithm and no signature", "bad-signature"],
  ["no algorithm and 64 bytes of nothing", "bad-signature"],
  ["a MAC whose secret is the public key", "bad-signature"],
] as const;

type Forgery = (typeof FORGERIES)[number][0];

/** A member token for `subject` that says everything right but for how it is signed. */
export async function forged(forgery: Forgery, lab: Lab, subject: PeerId): Promise<string> {
  const claims = (await lab.token(subject)).split(".")[1] ?? "";
  const kid = kidOf(lab.issuingKey.publicKey);
  const input = (alg: string): string => `${part({ alg, kid, typ: "JWT" })}.${claims}`;
  switch (forgery) {
    case "the signature of a key that no root has named":
      return ownToken(lab, subject);
    case "the right key's name over another key's signature":
      return `${input("EdDSA")}.${(await ownToken(lab, subject)).split(".")[2]}`;
    case "no algorithm and no signature":
      return `${input("none")}.`;
    case "no algorithm and 64 bytes of nothing":
      return `${input("none")}.${Buffer.alloc(64).toString("base64url")}`;
    case "a MAC whose secret is the public key": {
      const mac = createHmac("sha256", lab.issuingKey.publicKey).update(input("HS256")).digest("base64url");
      return `${input("HS256")}.${mac}`;
    }
  }
}

async function ownToken(lab: Lab, subject: PeerId): Promise<string> {
  const seed = crypto.randomBytes(32);
  const signer = await createTokenSigner({ seed, publicKey: crypto.authority(seed).publicKey });
  const issued = await lab.mint.issueMemberToken({ subject }, Date.now());
  if (!issued.ok) throw new Error(issued.fault);
  return signer.signMemberToken(issued.claims);
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
