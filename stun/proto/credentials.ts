import { base64 } from "../../src/proto/base64.ts";
import { RecentMap } from "../../src/proto/bounded.ts";
import { hex, utf8 } from "../../src/proto/bytes.ts";
import { hmac, sha1 } from "../../src/proto/hash.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { type IntegrityKey, longTermKey, type PasswordAlgorithm, userhash } from "./integrity.ts";

/**
 * Who may use the relay: users with a password, and time-limited credentials.
 *
 * A time-limited credential (draft-uberti-behave-turn-rest, what coturn calls `use-auth-secret`) is made by whoever shares a
 * secret with the server: the user name is `EXPIRY:NAME`, EXPIRY in Unix seconds, and the password the base64 of
 * HMAC-SHA1(secret, user name). The server stores nothing for it. Quotas count by NAME, so a renewed credential is the same
 * user; a bare `EXPIRY` is a user of its own.
 */
export interface Credentials {
  readonly users: readonly StaticUser[];
  /** Each may have made a credential; several while they are exchanged. At most {@link MAX_SECRETS}. */
  readonly secrets: readonly string[];
}

export interface StaticUser {
  readonly name: string;
  readonly password: string;
}

/** Secrets that are tried for one credential. */
export const MAX_SECRETS = 4;

/** A time-limited credential as a client uses it. */
export interface IssuedCredential {
  readonly username: string;
  readonly password: string;
  /** Unix ms. */
  readonly expiresAt: Instant;
}

/** Makes a credential for `name` (no colon at its start is needed; it may be empty) that ends `lifeMs` from now, to the second. */
export function issueCredential(secret: string, name: string, lifeMs: number, now: Instant): IssuedCredential {
  const second = Math.floor((now + lifeMs) / 1_000);
  const username = name === "" ? `${second}` : `${second}:${name}`;
  return { username, password: passwordOf(secret, username), expiresAt: second * 1_000 };
}

function passwordOf(secret: string, username: string): string {
  return base64(hmac(sha1, utf8(secret), utf8(username)));
}

/** A user that a request names. */
export interface Identity {
  /** Under what quotas are counted, and to whom an allocation belongs. */
  readonly user: string;
  /** Keys of which one must fit, by the password algorithm of the request. */
  readonly keys: readonly IntegrityKey[];
}

/** Looks users up and derives their keys, of which it remembers the ones used last. */
export class CredentialStore {
  readonly #realm: string;
  readonly #passwords = new Map<string, string>();
  readonly #byHash = new Map<string, string>();
  readonly #secrets: readonly string[];
  readonly #keys: RecentMap<string, readonly IntegrityKey[]>;

  constructor({ users, secrets }: Credentials, realm: string, capacity: number) {
    this.#realm = realm;
    this.#secrets = secrets.slice(0, MAX_SECRETS);
    for (const { name, password } of users) {
      const username = name.normalize("NFC");
      this.#passwords.set(username, password.normalize("NFC"));
      this.#byHash.set(hex(userhash(username, realm)), username);
    }
    this.#keys = new RecentMap(capacity);
  }

  /** Whether a hash can name every user: not where names are made by somebody else. */
  get namesByHash(): boolean {
    return this.#secrets.length === 0 && this.#passwords.size > 0;
  }

  /** The name behind a USERHASH; undefined when it is nobody's. */
  nameOf(hash: Uint8Array): string | undefined {
    return this.#byHash.get(hex(hash));
  }

  /** The user of this name; undefined when there is none, or when its time is over. */
  find(username: string, algorithm: PasswordAlgorithm, now: Instant): Identity | undefined {
    const password = this.#passwords.get(username);
    if (password !== undefined) return { user: username, keys: this.#derive(username, algorithm, () => [password]) };
    if (this.#secrets.length === 0) return undefined;
    const limited = /^(\d{1,15})(?::(.*))?$/s.exec(username);
    if (limited === null || Number(limited[1]) * 1_000 <= now) return undefined;
    const keys = this.#derive(username, algorithm, () => this.#secrets.map((secret) => passwordOf(secret, username)));
    return { user: limited[2] || username, keys };
  }

  /** Keeps what {@link find} derived; for users that have proved who they are. */
  remember(username: string, algorithm: PasswordAlgorithm, keys: readonly IntegrityKey[]): void {
    this.#keys.set(`${algorithm} ${username}`, keys);
  }

  #derive(username: string, algorithm: PasswordAlgorithm, passwords: () => readonly string[]): readonly IntegrityKey[] {
    return (
      this.#keys.get(`${algorithm} ${username}`) ??
      passwords().map((password) => longTermKey(username, this.#realm, password, algorithm))
    );
  }
}
