import type { PeerId } from "../../src/proto/peer-id.ts";
import type { SignatureLabel, Statement, TokenFacts } from "../../src/proto/signed.ts";
import { Digest } from "./digest.ts";

/**
 * Signatures and tokens that cost nothing: a keyed hash in place of Ed25519 and JWT. A statement with one byte changed, or
 * signed by another, fails; it is no cryptography, and whoever reads this file can forge.
 */
export class FakeSigner {
  readonly #secret: number;
  /** Statements that hold, by their bodies: what members of one process share is checked once and not by each of them. */
  readonly #held = new WeakMap<Uint8Array, Statement>();
  /** By token that is good: a few for each member. */
  readonly #facts = new Map<string, TokenFacts>();

  /** @param secret the world's seed, so that statements of one world mean nothing in another. */
  constructor(secret: number) {
    this.#secret = secret;
  }

  /** The 64-byte signature of `signer` under `body`. */
  sign(signer: PeerId, label: SignatureLabel, body: Uint8Array): Uint8Array {
    const signature = new Uint8Array(64);
    const word = this.#word(signer, label, body);
    for (let index = 0; index < 64; index++) signature[index] = byteOf(word, index);
    return signature;
  }

  /** Whether `statement` was signed by its signer in this world. */
  holds(statement: Statement): boolean {
    const { signer, label, body, signature } = statement;
    const held = this.#held.get(body);
    if (held?.signature === signature && held.signer === signer && held.label === label) return true;
    const word = this.#word(signer, label, body);
    let difference = signature.length ^ 64;
    for (let index = 0; index < 64; index++) difference |= (signature[index] ?? 0) ^ byteOf(word, index);
    if (difference === 0) this.#held.set(body, statement);
    return difference === 0;
  }

  /** A token that {@link facts} reads back; scopes must not contain spaces. */
  token(facts: TokenFacts): string {
    const place = Buffer.from(facts.place).toString("hex");
    const claims = `${facts.subject} ${facts.expiresAt} ${place} ${facts.scopes.join(",")}`;
    return `${claims} ${this.#seal(claims)}`;
  }

  /** The facts of a token of this world that is valid at `now`; undefined for any other. */
  facts(token: string, now: number): TokenFacts | undefined {
    let facts = this.#facts.get(token);
    if (facts === undefined) {
      facts = this.#read(token);
      if (facts === undefined) return undefined;
      this.#facts.set(token, facts);
    }
    return facts.expiresAt <= now ? undefined : facts;
  }

  #read(token: string): TokenFacts | undefined {
    const end = token.lastIndexOf(" ");
    const claims = token.slice(0, Math.max(0, end));
    if (token.slice(end + 1) !== this.#seal(claims)) return undefined;
    const [subject, expiresAt, place, scopes] = claims.split(" ");
    return {
      subject: subject as PeerId,
      expiresAt: Number(expiresAt),
      scopes: scopes === "" || scopes === undefined ? [] : scopes.split(","),
      place: Uint8Array.from(Buffer.from(place ?? "", "hex")),
    };
  }

  #word(signer: PeerId, label: SignatureLabel, body: Uint8Array): number {
    const digest = new Digest();
    digest.word(this.#secret);
    // The name is a random key: its begin tells it from all others of a world.
    for (let index = 0; index < SIGNER_LETTERS; index++) digest.word(signer.charCodeAt(index));
    digest.word(label.charCodeAt(LABEL_LETTER) ^ (label.length << 8));
    digest.bytes(body);
    return digest.low();
  }

  #seal(claims: string): string {
    const digest = new Digest();
    digest.word(this.#secret);
    digest.text(claims);
    return digest.toString();
  }
}

const SIGNER_LETTERS = 12;

/** Behind "starling/": with the length, it tells all labels apart. */
const LABEL_LETTER = 9;

/** The byte at `index` of a signature: four bytes of the hash, each time with another mask. */
function byteOf(word: number, index: number): number {
  return ((word >>> ((index & 3) << 3)) ^ (index * 37)) & 0xff;
}
