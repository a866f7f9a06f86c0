import { equalBytes } from "../../src/proto/bytes.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import type { SignatureLabel, Statement, TokenFacts } from "../../src/proto/signed.ts";
import { Digest } from "./digest.ts";

/**
 * Signatures and tokens that cost nothing: a keyed hash in place of Ed25519 and JWT. A statement with one byte changed, or
 * signed by another, fails; it is no cryptography, and whoever reads this file can forge.
 */
export class FakeSigner {
  readonly #secret: number;

  /** @param secret the world's seed, so that statements of one world mean nothing in another. */
  constructor(secret: number) {
    this.#secret = secret;
  }

  /** The 64-byte signature of `signer` under `body`. */
  sign(signer: PeerId, label: SignatureLabel, body: Uint8Array): Uint8Array {
    const signature = new Uint8Array(64);
    const view = new DataView(signature.buffer);
    const digest = new Digest();
    digest.word(this.#secret);
    digest.text(signer);
    digest.text(label);
    digest.bytes(body);
    for (let offset = 0; offset < 64; offset += 4) {
      digest.word(offset);
      view.setUint32(offset, digest.low());
    }
    return signature;
  }

  /** Whether `statement` was signed by its signer in this world. */
  holds(statement: Statement): boolean {
    return equalBytes(statement.signature, this.sign(statement.signer, statement.label, statement.body));
  }

  /** A token that {@link facts} reads back; scopes must not contain spaces. */
  token(facts: TokenFacts): string {
    const place = Buffer.from(facts.place).toString("hex");
    const claims = `${facts.subject} ${facts.expiresAt} ${place} ${facts.scopes.join(",")}`;
    return `${claims} ${this.#seal(claims)}`;
  }

  /** The facts of a token of this world that is valid at `now`; undefined for any other. */
  facts(token: string, now: number): TokenFacts | undefined {
    const end = token.lastIndexOf(" ");
    const claims = token.slice(0, Math.max(0, end));
    if (token.slice(end + 1) !== this.#seal(claims)) return undefined;
    const [subject, expiresAt, place, scopes] = claims.split(" ");
    if (Number(expiresAt) <= now) return undefined;
    return {
      subject: subject as PeerId,
      expiresAt: Number(expiresAt),
      scopes: scopes === "" || scopes === undefined ? [] : scopes.split(","),
      place: Uint8Array.from(Buffer.from(place ?? "", "hex")),
    };
  }

  #seal(claims: string): string {
    const digest = new Digest();
    digest.word(this.#secret);
    digest.text(claims);
    return digest.toString();
  }
}
