import { equalBytes, fromUtf8, utf8 } from "../../src/proto/bytes.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { Attribute, type StunErrorCode } from "./attributes.ts";
import { CredentialStore, type Credentials } from "./credentials.ts";
import { type Integrity, type IntegrityKind, isIntact, type PasswordAlgorithm } from "./integrity.ts";
import { wireLimits } from "./limits.ts";
import { type StunMessage, u16 } from "./message.ts";
import type { MessageWriter } from "./message-writer.ts";
import { Nonces, SecurityFeature } from "./nonce.ts";

/**
 * The long-term credential mechanism (RFC 8489, section 9.2), the server's side, without a byte of state for a client.
 *
 * The nonce is checked before anything else that costs more: a client without a nonce for its address gets one, and can
 * make this server compute nothing but that. So a wrong password with an old nonce is told 438 first and 401 then.
 *
 * Bid-down: the nonce's MAC covers the feature bits; a request whose PASSWORD-ALGORITHMS is not what was offered is refused, as is
 * an algorithm not offered. A request that carries MESSAGE-INTEGRITY-SHA256 is judged by it alone and answered in kind.
 */
export class Authenticator {
  #store: CredentialStore;
  readonly #nonces: Nonces;
  readonly #realm: Uint8Array;
  readonly #storeOf: (credentials: Credentials) => CredentialStore;

  /** @param nonceKey 32 random bytes. */
  constructor(options: AuthenticatorOptions) {
    const { credentials, realm, nonceKey, nonceLifetimeMs, keys } = options;
    this.#storeOf = (known) => new CredentialStore(known, realm, keys);
    this.#store = this.#storeOf(credentials);
    const anonymity = this.#store.namesByHash ? SecurityFeature.usernameAnonymity : 0;
    this.#nonces = new Nonces(nonceKey, SecurityFeature.passwordAlgorithms | anonymity, nonceLifetimeMs);
    this.#realm = utf8(realm);
  }

  /** Others count from here on; keys that were derived for those before are forgotten. */
  replace(credentials: Credentials): void {
    this.#store = this.#storeOf(credentials);
  }

  /** Judges a request from `address`. */
  check(message: StunMessage, address: string, now: Instant): Verdict {
    if (message.integrity === 0 && message.integrity256 === 0) return UNAUTHENTICATED;
    const nonce = message.value(Attribute.nonce);
    const realm = message.value(Attribute.realm);
    if (nonce === undefined || realm === undefined) return INCOMPLETE;
    if (!this.#nonces.isValid(nonce, address, now)) return STALE;
    const username = this.#usernameOf(message);
    if (username === "absent") return BAD;
    const algorithm = this.#algorithmOf(message);
    if (algorithm === undefined) return BAD;
    if (username === undefined || !equalBytes(realm, this.#realm)) return REFUSED;
    const identity = this.#store.find(username.text, algorithm, now);
    if (identity === undefined) return REFUSED;
    const kind: IntegrityKind = message.integrity256 > 0 ? "sha256" : "sha1";
    for (const key of identity.keys) {
      const integrity = { kind, key };
      if (!isIntact(message, integrity)) continue;
      this.#store.remember(username.text, algorithm, identity.keys);
      return { type: "authentic", user: identity.user, integrity };
    }
    return REFUSED;
  }

  /** Appends what a client needs to authenticate: realm, nonce, algorithms. */
  challenge(writer: MessageWriter, address: string, now: Instant): void {
    writer
      .bytes(Attribute.realm, this.#realm)
      .bytes(Attribute.nonce, this.#nonces.make(address, now))
      .bytes(Attribute.passwordAlgorithms, OFFERED_ALGORITHMS);
  }

  /** The user name; "absent" when the request has none, undefined when it cannot be anybody's. */
  #usernameOf(message: StunMessage): { readonly text: string } | "absent" | undefined {
    const plain = message.value(Attribute.username);
    if (plain !== undefined) {
      const text = plain.length <= wireLimits.usernameBytes ? fromUtf8(plain) : undefined;
      return text === undefined ? undefined : { text };
    }
    const hash = message.value(Attribute.userhash);
    if (hash === undefined) return "absent";
    const text = this.#store.nameOf(hash);
    return text === undefined ? undefined : { text };
  }

  /** Section 9.2.4, the checks for a nonce with the password-algorithms bit, which all of ours have. */
  #algorithmOf(message: StunMessage): PasswordAlgorithm | undefined {
    const offered = message.value(Attribute.passwordAlgorithms);
    const chosen = message.value(Attribute.passwordAlgorithm);
    if (offered === undefined && chosen === undefined) return "md5";
    if (offered === undefined || chosen === undefined || !equalBytes(offered, OFFERED_ALGORITHMS)) return undefined;
    if (chosen.length !== 4 || u16(chosen, 2) !== 0) return undefined;
    const code = u16(chosen, 0);
    return code === SHA256 ? "sha256" : code === MD5 ? "md5" : undefined;
  }
}

export interface AuthenticatorOptions {
  readonly credentials: Credentials;
  readonly realm: string;
  readonly nonceKey: Uint8Array;
  readonly nonceLifetimeMs: number;
  /** Users whose keys are remembered. */
  readonly keys: number;
}

/** What became of a request's credentials. */
export type Verdict =
  | { readonly type: "authentic"; readonly user: string; readonly integrity: Integrity }
  | {
      readonly type: "refused";
      readonly code: StunErrorCode;
      /** The answer carries realm and nonce. */
      readonly challenge: boolean;
      /** The client has shown a nonce that only its address can have received. */
      readonly verified: boolean;
    };

const MD5 = 1;
const SHA256 = 2;
/** PASSWORD-ALGORITHMS as offered: SHA-256, then MD5, neither with parameters. */
const OFFERED_ALGORITHMS = Uint8Array.of(0, SHA256, 0, 0, 0, MD5, 0, 0);

const UNAUTHENTICATED: Verdict = { type: "refused", code: 401, challenge: true, verified: false };
const INCOMPLETE: Verdict = { type: "refused", code: 400, challenge: false, verified: false };
const STALE: Verdict = { type: "refused", code: 438, challenge: true, verified: false };
const BAD: Verdict = { type: "refused", code: 400, challenge: false, verified: true };
const REFUSED: Verdict = { type: "refused", code: 401, challenge: true, verified: true };
