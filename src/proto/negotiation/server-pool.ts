import type { Instant } from "../machine.ts";
import { type IceUrl, parseIceUrl } from "./ice-url.ts";
import type { Transport } from "./plan.ts";
import type { IceServer } from "./rtc.ts";

/**
 * Which of several STUN and TURN servers a connection uses. Both WebRTC stacks take one of each kind, so the choice is made
 * here, for each connection anew: the quickest of those that answer, after each has been asked once in the order of the configuration.
 * One that has been silent is passed over for a while, twice as long each time, so that the next dial takes another; where all
 * are silent, the one whose time is up first is taken, because a dial with a doubtful server beats one with none.
 *
 * A STUN server on another host than the TURN server is preferred: then no single machine that is down makes UDP look blocked.
 * Over TCP and TLS no STUN server is named: it could only be asked over UDP, and werift waits for it.
 */

/** A server and until when its credential holds; absent: without end. */
export interface OfferedServer extends IceServer {
  readonly expiresAt?: Instant;
}

/** URLs that are chosen from; further ones are passed over. More would never be tried. */
const MAX_URLS = 64;
/** First pause of a silent server, ms; and the longest. */
const SILENT_MS = 30_000;
const LONGEST_SILENCE_MS = 600_000;
/** How much the latest latency counts against what was known, in percent: a path that has changed is seen in a few dials. */
const SMOOTHING_PERCENT = 30;

interface Candidate {
  readonly url: string;
  readonly at: IceUrl;
  readonly server: OfferedServer;
}

interface Standing {
  latencyMs: number | undefined;
  silences: number;
  passedUntil: Instant;
}

/** What is known of one URL. */
export interface ServerStanding {
  readonly url: string;
  /** From the wish to a candidate by this server, smoothed; undefined before it has answered. */
  readonly latencyMs: number | undefined;
  /** How often in a row it has not answered. */
  readonly silences: number;
}

export class ServerPool {
  #candidates: readonly Candidate[] = [];
  #standings = new Map<string, Standing>();

  constructor(servers: readonly OfferedServer[]) {
    this.update(servers);
  }

  /** Chooses from these servers from here on; what is known of a URL stays. URLs that no stack speaks are passed over. */
  update(servers: readonly OfferedServer[]): void {
    const candidates: Candidate[] = [];
    for (const server of servers) {
      for (const url of typeof server.urls === "string" ? [server.urls] : server.urls) {
        const at = parseIceUrl(url);
        const isKnown = candidates.some((other) => other.url === url);
        if (typeof at === "object" && !isKnown && candidates.length < MAX_URLS) candidates.push({ url, at, server });
      }
    }
    this.#candidates = candidates;
    const standings = this.#standings;
    this.#standings = new Map(candidates.map(({ url }) => [url, standings.get(url) ?? fresh()]));
  }

  /** Which ways to a TURN server there are, besides UDP. */
  ways(now: Instant): { readonly tcp: boolean; readonly tls: boolean } {
    const has = (rung: Transport): boolean => this.#usable("turn", rung, now).length > 0;
    return { tcp: has("tcp"), tls: has("tls") };
  }

  /** One STUN and one TURN server at most, for a connection on `rung`. */
  choose(rung: Transport, now: Instant): readonly OfferedServer[] {
    const turn = this.#best(this.#usable("turn", rung, now), now);
    const stuns = rung === "udp" ? this.#usable("stun", "udp", now) : [];
    const elsewhere = stuns.filter(({ at, url }) => at.host !== turn?.at.host && !this.#isPassed(url, now));
    const stun = this.#best(elsewhere.length > 0 ? elsewhere : stuns, now);
    return [stun, turn].flatMap((chosen) => (chosen === undefined ? [] : [only(chosen)]));
  }

  /** The server of `url` has answered within `latencyMs`. */
  answered(url: string, latencyMs: number): void {
    const standing = this.#standings.get(url);
    if (standing === undefined) return;
    const { latencyMs: before } = standing;
    standing.latencyMs = before === undefined ? latencyMs : before + ((latencyMs - before) * SMOOTHING_PERCENT) / 100;
    standing.silences = 0;
    standing.passedUntil = Number.NEGATIVE_INFINITY;
  }

  /** The server of `url` was asked and has not answered. */
  silent(url: string, now: Instant): void {
    const standing = this.#standings.get(url);
    // Several connections may have asked it at once: that is one silence.
    if (standing === undefined || now < standing.passedUntil) return;
    let pauseMs = SILENT_MS;
    for (let done = 0; done < standing.silences && pauseMs < LONGEST_SILENCE_MS; done++) pauseMs *= 2;
    standing.silences++;
    standing.passedUntil = now + Math.min(pauseMs, LONGEST_SILENCE_MS);
  }

  standings(): readonly ServerStanding[] {
    return Array.from(this.#standings, ([url, { latencyMs, silences }]) => ({ url, latencyMs, silences }));
  }

  #usable(kind: IceUrl["kind"], transport: Transport, now: Instant): readonly Candidate[] {
    return this.#candidates.filter(({ at, server }) => {
      const holds = server.expiresAt === undefined || now < server.expiresAt;
      const mayAsk = kind === "stun" || Boolean(server.username && server.credential);
      return holds && mayAsk && at.kind === kind && at.transport === transport;
    });
  }

  #isPassed(url: string, now: Instant): boolean {
    return now < (this.#standings.get(url)?.passedUntil ?? 0);
  }

  #best(candidates: readonly Candidate[], now: Instant): Candidate | undefined {
    const rank = ({ url }: Candidate): readonly [number, number] => {
      const { passedUntil, latencyMs } = this.#standings.get(url) ?? fresh();
      return [now < passedUntil ? passedUntil : 0, latencyMs ?? -1];
    };
    let best: Candidate | undefined;
    for (const candidate of candidates) {
      if (best === undefined) {
        best = candidate;
        continue;
      }
      const [passed, latency] = rank(candidate);
      const [bestPassed, bestLatency] = rank(best);
      if (passed < bestPassed || (passed === bestPassed && latency < bestLatency)) best = candidate;
    }
    return best;
  }
}

function fresh(): Standing {
  return { latencyMs: undefined, silences: 0, passedUntil: Number.NEGATIVE_INFINITY };
}

function only({ url, server: { username, credential, expiresAt } }: Candidate): OfferedServer {
  return {
    urls: url,
    ...(username !== undefined && { username }),
    ...(credential !== undefined && { credential }),
    ...(expiresAt !== undefined && { expiresAt }),
  };
}
