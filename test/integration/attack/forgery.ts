import { createHmac, sign } from "node:crypto";
import { createTokenSigner } from "../../../src/drivers/tokens.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import type { SigningKey } from "../../../src/proto/trust/crypto.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";
import { crypto, type Lab } from "./lab.ts";

/** Member tokens by those who may not issue any. Each says everything right but for how it is signed. */
export async function forgeries(lab: Lab, subject: PeerId): Promise<Readonly<Record<Forgery, string>>> {
  const { publicKey } = lab.issuingKey;
  const kid = kidOf(publicKey);
  const claims = (await lab.token(subject)).split(".")[1] ?? "";
  const own = freshKey();
  const header = (alg: string): string => part({ alg, kid, typ: "JWT" });
  const unsigned = `${header("none")}.${claims}`;
  const maced = `${header("HS256")}.${claims}`;
  const borrowed = `${header("EdDSA")}.${claims}`;
  return {
    "another issuing key": await ownToken(lab, subject, own),
    "the name of the right key over the signature of another": `${borrowed}.${edDsa(borrowed, own)}`,
    "no algorithm and no signature": `${unsigned}.`,
    "no algorithm and 64 bytes of nothing": `${unsigned}.${Buffer.alloc(64).toString("base64url")}`,
    "a MAC whose secret is the public key": `${maced}.${createHmac("sha256", publicKey).update(maced).digest("base64url")}`,
  };
}

export const FORGERIES = [
  ["another issuing key", "token-invalid", "wrong-issuer"],
  ["the name of the right key over the signature of another", "token-invalid", "bad-signature"],
  ["no algorithm and no signature", "token-invalid", "bad-signature"],
  ["no algorithm and 64 bytes of nothing", "token-invalid", "bad-signature"],
  ["a MAC whose secret is the public key", "token-invalid", "bad-signature"],
] as const;

type Forgery = (typeof FORGERIES)[number][0];

async function ownToken(lab: Lab, subject: PeerId, key: SigningKey): Promise<string> {
  const signer = await createTokenSigner(key);
  const issued = await lab.mint.issueMemberToken({ subject }, Date.now());
  if (!issued.ok) throw new Error(issued.fault);
  return signer.signMemberToken(issued.claims);
}

function freshKey(): SigningKey {
  const seed = crypto.randomBytes(32);
  return { seed, publicKey: crypto.authority(seed).publicKey };
}

function edDsa(text: string, { seed }: SigningKey): string {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  return sign(null, Buffer.from(text), { key: der, format: "der", type: "pkcs8" }).toString("base64url");
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
