import { type FormerKey, readFormerKeys, writeFormerKeys } from "../drivers/state/former-keys.ts";
import { readSigningKeyFile } from "../drivers/state/key-file.ts";
import type { Logger } from "../options.ts";
import { equalBytes } from "../proto/bytes.ts";
import { type SignedDecree, signDecree } from "../proto/decrees/decree.ts";
import { encodeRevocation } from "../proto/decrees/revocation.ts";
import type { Instant } from "../proto/machine.ts";
import { kidOf } from "../proto/trust/issuers.ts";
import { CLOCK_LEEWAY_MS } from "../proto/trust/times.ts";
import type { Trust } from "./trust.ts";

/** How often an end that could not be carried out is tried again, ms. */
const AGAIN_MS = 60_000;

/**
 * The issuing keys that this agent has put others in the place of, until they end. The end of a key is a revocation of itself, the last
 * thing that it signs; then it is forgotten. They are on the disk, so that a restart delays an end and forgets none.
 */
export class FormerKeys {
  readonly #trust: Trust;
  readonly #folder: string;
  readonly #log: Logger;
  readonly #now: () => Instant;
  readonly #decree: (decree: SignedDecree) => Promise<unknown>;
  readonly #later: (ms: number, run: () => void) => void;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param options `decree`: puts a decree in force; it is on the disk when that resolves. `later`: a timer that ends with the agent. */
  constructor(options: {
    readonly trust: Trust;
    readonly folder: string;
    readonly log: Logger;
    readonly now: () => Instant;
    readonly decree: (decree: SignedDecree) => Promise<unknown>;
    readonly later: (ms: number, run: () => void) => void;
  }) {
    this.#trust = options.trust;
    this.#folder = options.folder;
    this.#log = options.log;
    this.#now = options.now;
    this.#decree = options.decree;
    this.#later = options.later;
  }

  /** Keeps a key until its end, in the place of what was said of it before; durable when it resolves. */
  async add(former: FormerKey): Promise<void> {
    await this.#change(async (keys) => [...keys.filter((key) => !isSame(key, former)), former]);
    this.schedule();
  }

  /** Ends this key now. */
  end(former: Pick<FormerKey, "key">): Promise<void> {
    return this.#endAll((key) => isSame(key, former));
  }

  /** Ends the keys whose time has come, and looks again when that of the next comes. Never rejects. */
  schedule(): void {
    const look = async (): Promise<void> => {
      await this.#endAll(({ endsAt }) => endsAt <= this.#now());
      const keys = await readFormerKeys(this.#folder, this.#trust.crypto);
      if (keys.length === 0) return;
      const next = Math.min(...keys.map(({ endsAt }) => endsAt)) - this.#now();
      this.#later(next > 0 ? next : AGAIN_MS, () => this.schedule());
    };
    look().catch((error: unknown) => {
      this.#log.error("former issuing keys cannot be ended", { error: String(error) });
      this.#later(AGAIN_MS, () => this.schedule());
    });
  }

  #endAll(isOver: (key: FormerKey) => boolean): Promise<void> {
    return this.#change(async (keys) => {
      const left: FormerKey[] = [];
      for (const former of keys) if (!isOver(former) || !(await this.#end(former))) left.push(former);
      return left;
    });
  }

  /** False for a key that still stands in its file: the rotation was cut off before the successor took its place. */
  async #end({ key, keyFile }: FormerKey): Promise<boolean> {
    const kid = kidOf(key.publicKey);
    const standing = await readSigningKeyFile(keyFile, this.#trust.crypto);
    if (standing !== undefined && equalBytes(standing.publicKey, key.publicKey)) {
      this.#log.warn("a rotation of this issuing key was cut off: give the command again", { kid, keyFile });
      return false;
    }
    // What was written before under its tokens, by a member whose clock is ahead, goes on counting.
    const since = Math.floor(this.#now()) + CLOCK_LEEWAY_MS;
    const body = encodeRevocation({ target: { of: "issuer", kid }, since, until: 0 });
    await this.#decree(signDecree("revocation", body, this.#trust.crypto.authority(key.seed)));
    return true;
  }

  /** One change of the file after the other. */
  #change(change: (keys: readonly FormerKey[]) => Promise<readonly FormerKey[]>): Promise<void> {
    const changed = this.#turn.then(async () => {
      const keys = await readFormerKeys(this.#folder, this.#trust.crypto);
      const next = await change(keys);
      if (next.length > 0 || keys.length > 0) await writeFormerKeys(this.#folder, next);
    });
    this.#turn = changed.catch(() => undefined);
    return changed;
  }
}

function isSame(a: Pick<FormerKey, "key">, b: Pick<FormerKey, "key">): boolean {
  return equalBytes(a.key.publicKey, b.key.publicKey);
}
