import { z } from "zod";
import { StarlingError } from "../errors.ts";
import type { NetcheckReport } from "../netcheck.ts";
import { fromUtf8, utf8 } from "../proto/bytes.ts";
import type { Instant } from "../proto/machine.ts";
import { explain, type PathWord, type Standing } from "../proto/negotiation/explain.ts";
import type { RoundReport } from "../proto/negotiation/outcome.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { PathAccount, WhyReport } from "../why.ts";
import type { DialTrace } from "./paths.ts";
import type { MeshStream } from "./stream.ts";

/**
 * Two members tell each other what stands between them: over a stream of Starling's own, that any member may open. What is told is what
 * the two have told each other to pair, addresses included, and what the NAT of each does.
 */

/** The protocol of accounts: nothing there, one account back. */
export const WHY_PROTOCOL = "starling/why/1";

/** An account, bytes: 16 rounds with 32 candidates each, and room. */
const MAX_ACCOUNT_BYTES = 65_536;
/** How long the other side gets, ms: a netcheck in which something is silent, and the way. */
const ANSWER_MS = 15_000;
/** A report on our own network is good for this long, ms: two people who ask should not double the packets. */
const FRESH_MS = 30_000;

/** What an account is made of. */
export interface WhyHost {
  readonly now: () => Instant;
  netcheck(): Promise<NetcheckReport>;
  trace(peer: PeerId): DialTrace | undefined;
  path(peer: PeerId): { readonly path: PathWord; readonly rtc: string | null };
  open(peer: PeerId, protocol: string, signal: AbortSignal): Promise<MeshStream>;
}

export class Accounts {
  readonly #host: WhyHost;
  #check: { readonly at: Instant; readonly report: Promise<NetcheckReport> } | undefined;

  constructor(host: WhyHost) {
    this.#host = host;
  }

  /** Serves one stream of {@link WHY_PROTOCOL}. */
  async serve(stream: MeshStream, from: PeerId): Promise<void> {
    await stream.send(utf8(JSON.stringify(await this.#account(from))));
    stream.end();
  }

  /** Puts our account and the peer's together. */
  async why(peer: PeerId, signal: AbortSignal | undefined): Promise<WhyReport> {
    const patience = AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]);
    const [ours, theirs] = await Promise.all([this.#account(peer), this.#ask(peer, patience)]);
    if (signal?.aborted) throw new StarlingError("aborted", "the question was cancelled");
    const { path, rtc } = this.#host.path(peer);
    const answered = typeof theirs === "string" ? undefined : theirs;
    const explanation = explain(path, standing(ours), answered && standing(answered));
    const theirError = typeof theirs === "string" ? theirs : null;
    return { peer, path, rtc, ours, theirs: answered ?? null, theirError, ...explanation };
  }

  async #account(peer: PeerId): Promise<PathAccount> {
    const { udp, nat, ipv4, ipv6, servers } = await this.#network();
    const trace = this.#host.trace(peer);
    return {
      udp,
      mapping: nat.mapping,
      filtering: nat.filtering,
      nat: nat.kind,
      public: [ipv4.public, ipv6.public].filter((address) => address !== null),
      relay: servers.some(({ relay }) => relay !== null),
      rounds: (trace?.rounds ?? []).map(roundAccount),
      sinceMs: trace === undefined ? null : this.#host.now() - trace.at,
    };
  }

  #network(): Promise<NetcheckReport> {
    const now = this.#host.now();
    if (this.#check === undefined || now - this.#check.at > FRESH_MS)
      this.#check = { at: now, report: this.#host.netcheck() };
    return this.#check.report;
  }

  /** The peer's account; a text: why there is none. */
  async #ask(peer: PeerId, patience: AbortSignal): Promise<PathAccount | string> {
    let stream: MeshStream | undefined;
    const giveUp = (): void => stream?.reset();
    try {
      stream = await this.#host.open(peer, WHY_PROTOCOL, patience);
      patience.addEventListener("abort", giveUp, { once: true });
      for await (const message of stream) return readAccount(message) ?? "its answer cannot be read";
      return "it has nothing to say: is it of an older version?";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      patience.removeEventListener("abort", giveUp);
      stream?.end();
    }
  }
}

function roundAccount({ failure, ...round }: RoundReport): PathAccount["rounds"][number] {
  return { ...round, failure: failure === undefined ? null : `${failure.stage}: ${failure.reason}` };
}

const MAPPINGS = [
  ...(["none", "endpoint-independent", "address-dependent"] as const),
  ...(["address-and-port-dependent", "endpoint-dependent", "unknown"] as const),
] as const;
const FILTERINGS = ["endpoint-independent", "address-dependent", "address-and-port-dependent", "unknown"] as const;

const words = z.array(z.string().max(80)).max(16);
/** Another member's word: bounded, and printable when it reaches a terminal (`table` sees to that). */
const accountSchema = z.object({
  udp: z.enum(["open", "blocked", "unknown"]),
  mapping: z.enum(MAPPINGS),
  filtering: z.enum(FILTERINGS),
  nat: z.enum(["open", "easy", "hard", "blocked", "unknown"]),
  public: z.array(z.union([z.ipv4(), z.ipv6()])).max(4),
  relay: z.boolean(),
  rounds: z
    .array(
      z.object({
        role: z.enum(["dialer", "answerer"]),
        rung: z.string().max(16),
        tookMs: z.number().min(0),
        local: words,
        remote: words,
        failure: z.string().max(64).nullable(),
      }),
    )
    .max(16),
  sinceMs: z.number().min(0).nullable(),
});

/** The account in a message; undefined when it is none. Never throws. */
export function readAccount(message: Uint8Array): PathAccount | undefined {
  const text = message.length <= MAX_ACCOUNT_BYTES ? fromUtf8(message) : undefined;
  if (text === undefined) return undefined;
  try {
    return accountSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function standing({ udp, mapping, filtering, public: seen, rounds }: PathAccount): Standing {
  const read = {
    mapping: MAPPINGS.find((word) => word === mapping),
    filtering: FILTERINGS.find((word) => word === filtering),
  };
  return {
    udp,
    mapping: read.mapping ?? "unknown",
    filtering: read.filtering ?? "unknown",
    public: seen,
    failure: rounds.at(-1)?.failure ?? undefined,
  };
}
