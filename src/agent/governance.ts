import type { AuditLog } from "../audit.ts";
import type { StateDirectory } from "../drivers/state-directory.ts";
import type { Logger } from "../options.ts";
import { type Decree, decodeDecree, type SignedDecree } from "../proto/decrees/decree.ts";
import { targetText } from "../proto/decrees/revocation.ts";
import type { Instant } from "../proto/machine.ts";
import type { Trust } from "./trust.ts";

/** What governance tells the agent. */
export interface GovernanceListener {
  /** Gives a decree to the mesh, which applies and spreads it; false while there is none. */
  spread(decree: SignedDecree, secrets: Uint8Array | undefined): boolean;
  /** It is in force here. */
  inForce(decree: Decree): void;
  /** This very member was revoked. */
  outlawed(): void;
}

/**
 * What the cluster has decreed, at this agent: takes decrees from files, servers and commands, and keeps on the disk what is in
 * force, so that nothing is forgotten by a restart.
 */
export class Governance {
  readonly #trust: Trust;
  readonly #state: StateDirectory;
  readonly #log: Logger;
  readonly #audit: AuditLog;
  readonly #now: () => Instant;
  readonly #listener: GovernanceListener;
  /** Writes, one after the other; all news that come during one are in the next. */
  #writing: Promise<void> = Promise.resolve();
  #isDirty = false;

  constructor(options: {
    readonly trust: Trust;
    readonly state: StateDirectory;
    readonly log: Logger;
    readonly audit: AuditLog;
    readonly now: () => Instant;
    readonly listener: GovernanceListener;
  }) {
    this.#trust = options.trust;
    this.#state = options.state;
    this.#log = options.log;
    this.#audit = options.audit;
    this.#now = options.now;
    this.#listener = options.listener;
  }

  /**
   * Takes a decree, wherever it comes from. True if it was news: it is then in force, spreads, and is on the disk when this resolves.
   * Forged, older and known ones change nothing. Never rejects.
   */
  async take(decree: SignedDecree, secrets?: Uint8Array): Promise<boolean> {
    const { decrees } = this.#trust;
    if (!this.#listener.spread(decree, secrets)) {
      const ruling = decrees.accept(decree, this.#now());
      if (ruling.outcome !== "news") return false;
      this.decreed(ruling.decree, decree);
    } else if (!decrees.holds(decree)) return false;
    await this.#writing;
    return true;
  }

  /** Takes a list of issuing keys that some root has signed; true if it was news. Never rejects. */
  async offerIssuers(encoded: Uint8Array): Promise<boolean> {
    let isNews = false;
    for (const decree of this.#trust.foundation(encoded)) {
      if (!this.#trust.decrees.holds(decree) && (await this.take(decree))) isNews = true;
    }
    return isNews;
  }

  /** Takes encoded decrees of which nothing was checked; how many were no news. Never rejects. */
  async offer(encoded: readonly Uint8Array[]): Promise<number> {
    let idle = 0;
    for (const bytes of encoded) {
      const decree = decodeDecree(bytes);
      const isNews = decree !== undefined && !this.#trust.decrees.holds(decree) && (await this.take(decree));
      if (!isNews) idle++;
    }
    return idle;
  }

  /** A decree has come into force. */
  decreed(decree: Decree, { signer }: SignedDecree): void {
    this.#keep();
    this.#note(decree, signer);
    this.#listener.inForce(decree);
    if (decree.kind === "revocation" && this.#trust.decrees.revokedSince(this.#trust.id) !== undefined) {
      this.#listener.outlawed();
    }
  }

  /** Other secrets are in use. */
  rekeyed(epoch: number): void {
    this.#log.info("new cluster secrets are in use", { epoch });
    this.#keep();
  }

  /** Resolves when nothing is on its way to the disk. */
  settled(): Promise<void> {
    return this.#writing;
  }

  #note(decree: Decree, signer: string): void {
    const { kind } = decree;
    if (decree.kind === "revocation") {
      const target = targetText(decree.target);
      this.#log.warn("revoked", { of: decree.target.of, target, signer });
      this.#audit.record({ action: "decree.revocation", actor: signer, target, outcome: "ok" });
    } else if (decree.kind === "issuers") {
      this.#log.info("a newer list of issuing keys is in force", { version: decree.list.version });
      this.#audit.record({ action: "decree.issuers", actor: signer, target: `${decree.list.version}`, outcome: "ok" });
    } else {
      this.#log.info(`a ${kind} is in force`, { signer });
      const count = decree.kind === "rotation" ? decree.epoch : decree.generation;
      this.#audit.record({ action: `decree.${decree.kind}`, actor: signer, target: `${count}`, outcome: "ok" });
    }
  }

  #keep(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#writing = this.#writing
      .then(async () => {
        this.#isDirty = false;
        await this.#state.writeDecrees(Array.from(this.#trust.decrees.encoded(), ({ bytes }) => bytes));
        await this.#state.writeCluster(this.#trust.cluster);
      })
      .catch((error: unknown) => this.#log.error("decrees cannot be kept on the disk", { error: String(error) }));
  }
}
