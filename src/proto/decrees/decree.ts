import { concat, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { AuthorityLabel } from "../signed.ts";
import type { Authority } from "../trust/crypto.ts";
import { type IssuerList, kidOf, type SignedIssuers } from "../trust/issuers.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, text, tuple } from "../wire/shape.ts";
import { DECREE_ID_BYTES, type DecreeId } from "./decree-id.ts";
import { MAX_DECREE_BYTES } from "./limits.ts";
import type { Revocation } from "./revocation.ts";
import type { Rotation } from "./rotation.ts";
import { encodeSuccession, type Succession } from "./succession.ts";

/**
 * A decree: a signed decision of the cluster itself, by its root or an issuing key. Whoever holds it can check it.
 *
 *     [kind, signer, body, signature]     signer: the name (`kidOf`) of the key; the signature covers label of the kind and body
 *
 * What is said in a body stands in the file of its kind. Who may say it, and which of two holds, `decree-set.ts` decides.
 */
export interface SignedDecree {
  readonly kind: DecreeKind;
  /** Names the key: 16 characters. */
  readonly signer: string;
  readonly body: Uint8Array;
  /** 64 bytes, Ed25519. */
  readonly signature: Uint8Array;
}

/** What a decree says. */
export type Decree =
  | ({ readonly kind: "succession" } & Succession)
  | { readonly kind: "issuers"; readonly list: IssuerList }
  | ({ readonly kind: "revocation" } & Revocation)
  | ({ readonly kind: "rotation" } & Rotation);

export type DecreeKind = "succession" | "issuers" | "revocation" | "rotation";

/** Kinds by their number on the wire. What others depend on comes first. */
export const KINDS: readonly DecreeKind[] = ["succession", "issuers", "revocation", "rotation"];

/** The label under which each kind is signed. */
export const LABELS: Readonly<Record<DecreeKind, AuthorityLabel>> = {
  succession: "starling/succession/1",
  issuers: "starling/issuers/1",
  revocation: "starling/revocation/1",
  rotation: "starling/rotation/1",
};

const KID_LENGTH = 16;
const ID_LABEL = utf8("starling/decree-id/1\0");

/** Signs `body` as a decree of this kind. */
export function signDecree(kind: DecreeKind, body: Uint8Array, authority: Authority): SignedDecree {
  return { kind, signer: kidOf(authority.publicKey), body, signature: authority.sign(LABELS[kind], body) };
}

/** The decrees in a signed list: the successions of its heirs, and the list itself by the last of them. Unchecked. */
export function foundationOf(
  { body, signature, heirs = [] }: SignedIssuers,
  rootPublicKey: Uint8Array,
): SignedDecree[] {
  const roots = [rootPublicKey, ...heirs.map(({ publicKey }) => publicKey)].map(kidOf);
  const successions = heirs.map((heir, index): SignedDecree => {
    const said = encodeSuccession({ generation: index + 1, publicKey: heir.publicKey });
    return { kind: "succession", signer: roots[index] as string, body: said, signature: heir.signature };
  });
  return [...successions, { kind: "issuers", signer: roots.at(-1) as string, body, signature }];
}

export function encodeDecree({ kind, signer, body, signature }: SignedDecree): Uint8Array {
  return encode([KINDS.indexOf(kind), signer, body, signature]);
}

/** The opposite of {@link encodeDecree}; undefined for anything else. Only the outer form is checked. Never throws. */
export function decodeDecree(encoded: Uint8Array): SignedDecree | undefined {
  if (encoded.length > MAX_DECREE_BYTES) return undefined;
  // A copy: the decoder leaves a property on the array that it reads, and what is kept must not be a view of a frame.
  const decoded = decode(encoded.slice(), { depth: 1, items: 5 });
  const fields = decoded.ok ? tuple(decoded.value, 4) : undefined;
  const kind = KINDS[integer(fields?.[0], 0, KINDS.length - 1) ?? KINDS.length];
  const signer = text(fields?.[1], KID_LENGTH);
  const body = bytes(fields?.[2], MAX_DECREE_BYTES)?.slice();
  const signature = bytesOf(fields?.[3], 64)?.slice();
  if (kind === undefined || signer?.length !== KID_LENGTH || body === undefined || signature === undefined) {
    return undefined;
  }
  return { kind, signer, body, signature };
}

/** The signature is left out: of one body there may be several good ones, and they say the same. */
export function decreeIdOf({ kind, signer, body }: SignedDecree): DecreeId {
  const hash = sha256(concat(ID_LABEL, Uint8Array.of(KINDS.indexOf(kind)), utf8(signer), body));
  return String.fromCharCode(...hash.subarray(0, DECREE_ID_BYTES)) as DecreeId;
}
