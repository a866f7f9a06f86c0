import type { AuditEvent } from "./proto/audit/entry.ts";
import type { AuditFault } from "./proto/audit/verifier.ts";
import type { PeerId } from "./proto/peer-id.ts";

/** Where what was done, and what was tried and denied, is written down. The format stands in `proto/audit/entry.ts`. */
export interface AuditLog extends AsyncDisposable {
  /** Queues a line. Never throws and never waits: what cannot be written is counted, and the next line says how much was lost. */
  record(event: AuditEvent): void;
  /** Resolves when everything that was recorded is on the disk, or cannot be. Idempotent. */
  close(): Promise<void>;
}

/** An audit log that can be read back, to be copied elsewhere. */
export interface KeptAuditLog extends AuditLog {
  /** The number of the last line on the disk; 0 before the first. */
  readonly durable: number;
  /**
   * The lines on the disk from number `from` on, in portions, up to the last one at this moment; from the first that is kept, where those before it
   * are gone. Fails as files do.
   */
  read(from: number): AsyncIterable<readonly string[]>;
}

/** What `starling audit verify` finds in one log. */
export interface AuditReport {
  readonly ok: boolean;
  /** The key whose signatures the log carries. */
  readonly signer: PeerId;
  readonly lines: number;
  /** The first and the last line that was read; 0 when there is none. */
  readonly first: number;
  readonly last: number;
  /** At most {@link MAX_REPORTED_FAULTS}, in the order of the log. */
  readonly faults: readonly { readonly file: string; readonly line: number; readonly fault: AuditFault }[];
}

/** Faults that a report names; a log that was replaced as a whole has as many as lines. */
export const MAX_REPORTED_FAULTS = 100;

/** Writes nothing down. */
export const NO_AUDIT: AuditLog = {
  record: () => undefined,
  close: async () => undefined,
  [Symbol.asyncDispose]: async () => undefined,
};
