import type { KeptAuditLog } from "../audit.ts";
import type { Logger } from "../options.ts";
import { AUDIT_PROTOCOL, batchOf, decodeHave, decodeKept, encodeLines } from "../proto/audit/copy-messages.ts";
import { RecentMap } from "../proto/bounded.ts";
import { hex, utf8 } from "../proto/bytes.ts";
import { sha256 } from "../proto/hash.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AuditStatus } from "../status.ts";
import type { MeshStream } from "./stream.ts";

/** Between two looks at who keeps copies, ms, and between two at what is new. */
const LOOK_MS = 5_000;
const PAUSE_MS = 1_000;
/** A keeper that has failed is asked again after this, ms; others are asked meanwhile. */
const AVOID_MS = 60_000;
const MAX_AVOIDED = 256;
/** How long a keeper may take for a batch, ms: a disk that is busy, and a rate that is held to. */
const ANSWER_MS = 30_000;

interface Copying {
  readonly stop: AbortController;
  /** The last line that the keeper has on its disk; undefined before it has said. */
  kept: number | undefined;
}

/**
 * Has the audit log of this agent kept by other members: as many as are asked for, of those that keep copies, the first ones in an order of our
 * own. Each hears what it lacks and then what is new, within seconds.
 */
export class AuditCopying {
  readonly #options: AuditCopyingOptions;
  readonly #running = new Map<PeerId, Copying>();
  readonly #avoided = new RecentMap<PeerId, Instant>(MAX_AVOIDED);

  constructor(options: AuditCopyingOptions) {
    this.#options = options;
  }

  /** Begins, and goes on for as long as the agent lives. */
  begin(): void {
    if (this.#options.copies === 0) return;
    this.#look();
    this.#options.later(LOOK_MS, () => this.begin());
  }

  /** How far the copies are. */
  status(): AuditStatus {
    const copies = Array.from(this.#running, ([keeper, { kept }]) => ({ keeper, lines: kept ?? 0 }));
    return { lines: this.#options.audit.durable, copiesWanted: this.#options.copies, copies };
  }

  #look(): void {
    const { copies, now, keepers } = this.#options;
    const able = keepers().filter((peer) => (this.#avoided.get(peer) ?? 0) <= now());
    const chosen = new Set(able.sort((a, b) => (this.#rank(a) < this.#rank(b) ? -1 : 1)).slice(0, copies));
    for (const [peer, { stop }] of this.#running) if (!chosen.has(peer)) stop.abort();
    for (const peer of chosen) if (!this.#running.has(peer)) void this.#run(peer);
  }

  /** Each owner has an order of its own, so that keepers share the work. */
  #rank(keeper: PeerId): string {
    return hex(sha256(utf8(`${this.#options.self} ${keeper}`)));
  }

  /** Never rejects. */
  async #run(keeper: PeerId): Promise<void> {
    const { open, log, now } = this.#options;
    const copying: Copying = { stop: new AbortController(), kept: undefined };
    this.#running.set(keeper, copying);
    const { signal } = copying.stop;
    let stream: MeshStream | undefined;
    const end = (): void => stream?.reset();
    signal.addEventListener("abort", end, { once: true });
    try {
      stream = await open(keeper, AUDIT_PROTOCOL, { signal });
      await this.#copy(stream, copying);
    } catch (error) {
      if (!signal.aborted) {
        this.#avoided.set(keeper, now() + AVOID_MS);
        log.warn("a member does not keep a copy of the audit log", { keeper, error: String(error) });
      }
    } finally {
      stream?.reset();
      this.#running.delete(keeper);
    }
  }

  async #copy(stream: MeshStream, copying: Copying): Promise<void> {
    const { audit } = this.#options;
    const answers = stream[Symbol.asyncIterator]();
    const have = decodeHave(await answerOf(answers));
    if (have === undefined) throw new Error("its answer cannot be read");
    copying.kept = have.seq;
    // The last line that it has is said again, or ours where that is shorter: so it sees at once whether both are one log.
    let next = Math.max(1, Math.min(have.seq, audit.durable));
    while (!copying.stop.signal.aborted) {
      for await (const lines of audit.read(next)) {
        for (let rest = lines; rest.length > 0; ) {
          const batch = batchOf(rest);
          await stream.send(encodeLines(batch));
          const kept = decodeKept(await answerOf(answers));
          if (kept === undefined || kept > audit.durable) throw new Error("its answer makes no sense");
          copying.kept = kept;
          next = kept + 1;
          rest = rest.slice(batch.length);
        }
      }
      await new Promise((resolve) => this.#options.later(PAUSE_MS, () => resolve(undefined)));
    }
  }
}

/** The next message; rejects when none comes in time, or no more. */
async function answerOf(answers: AsyncIterator<Uint8Array, void>): Promise<Uint8Array> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("it does not answer")), ANSWER_MS);
  timer.unref();
  try {
    const answer = await Promise.race([answers.next(), late.promise]);
    if (answer.done === true) throw new Error("it refuses what it is sent");
    return answer.value;
  } finally {
    clearTimeout(timer);
  }
}

interface AuditCopyingOptions {
  /** How many members are to keep a copy. */
  readonly copies: number;
  readonly self: PeerId;
  readonly audit: KeptAuditLog;
  /** Members that keep copies and may. */
  readonly keepers: () => PeerId[];
  readonly open: (peer: PeerId, protocol: string, options: { readonly signal: AbortSignal }) => Promise<MeshStream>;
  /** A timer that ends with the agent. */
  readonly later: (ms: number, run: () => void) => void;
  readonly now: () => Instant;
  readonly log: Logger;
}
