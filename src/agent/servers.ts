import { connectSignaling, type SignalingConnection, type SignalingEvent } from "../drivers/signaling.ts";
import type { Logger } from "../options.ts";
import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { type Random, randomBytes } from "../proto/random.ts";
import type { HeldCredential } from "../proto/signaling/client-events.ts";
import type { RefusalCode } from "../proto/signaling/messages.ts";
import type { SignalingStatus } from "../status.ts";
import type { Trust } from "./trust.ts";

/** What the servers tell the agent. */
export interface ServersListener {
  /** A member token was issued or renewed for us. */
  token(text: string): void;
  /** A signed list of issuing keys, unchecked. */
  issuers(encoded: Uint8Array): void;
  /** Records of members, unchecked. `alone`: the server knows nobody else. */
  introduced(records: readonly Uint8Array[]): void;
  signal(bytes: Uint8Array): void;
  /** No server could hand the signal on. */
  unreachable(peer: PeerId): void;
  /** Another agent runs with our key. */
  fenced(detail: string): void;
  /** A server refuses us for good; `everywhere` when no other is left to try. */
  refused(code: RefusalCode, detail: string, everywhere: boolean): void;
  /** A server's clock differs from ours by more than a token's leeway allows. */
  skewed(url: string, skewMs: number): void;
}

/** A signal that may still be tried at another server. */
interface Undelivered {
  readonly to: PeerId;
  readonly bytes: Uint8Array;
  /** Servers that have not been tried. */
  readonly rest: Server[];
}

interface Server {
  readonly connection: SignalingConnection;
  lastError: string | undefined;
  refusal: RefusalCode | undefined;
  fenced: boolean;
  skewMs: number | undefined;
}

/** Signals that wait for a server's no: a burst of candidates to a few hundred peers. */
const MAX_UNDECIDED = 1_024;
/** A difference of clocks beyond this is worth a warning: half of what tokens forgive. */
const SKEW_WARNING_MS = 30_000;
/** Members asked for at a time: enough that one crossing link is all but certain. */
const INTRODUCTIONS = 8;

/** The signaling servers of one agent: each connection is kept up by itself, a signal goes through the first that delivers. */
export class Servers {
  readonly #listener: ServersListener;
  readonly #log: Logger;
  readonly #servers: Server[] = [];
  readonly #undecided = new RecentMap<number, Undelivered>(MAX_UNDECIDED);
  #signals = 0;

  constructor(options: {
    readonly urls: readonly string[];
    readonly trust: Trust;
    readonly credential: HeldCredential;
    readonly random: Random;
    readonly now: () => Instant;
    readonly log: Logger;
    readonly listener: ServersListener;
  }) {
    const { trust, credential, random, now } = options;
    this.#listener = options.listener;
    this.#log = options.log;
    const run = { instance: randomBytes(random, 16), startedAt: now() };
    for (const url of options.urls) {
      const connection = connectSignaling(
        {
          url,
          peer: trust.id,
          cluster: trust.cluster.clusterId,
          run,
          credential,
          keys: {
            sign: (label, body) => trust.sign(label, body),
            verify: (statement) => trust.crypto.verify(statement),
          },
          random,
          now,
        },
        (event) => this.#event(server, event),
      );
      const server: Server = { connection, lastError: undefined, refusal: undefined, fenced: false, skewMs: undefined };
      this.#servers.push(server);
      if (connection.plaintext)
        this.#log.warn("signaling without TLS: a listener sees the token", { url: connection.url });
    }
  }

  /** Whether any server has logged us in. */
  get ready(): boolean {
    return this.#servers.some((server) => server.connection.state === "ready");
  }

  status(): SignalingStatus[] {
    return this.#servers.map(({ connection, lastError, refusal, fenced, skewMs }) => ({
      url: connection.url,
      state: stateOf({ connection, fenced, refusal }),
      ...(lastError !== undefined && { lastError }),
      ...(skewMs !== undefined && { skewMs: Math.round(skewMs) }),
    }));
  }

  /** Hands `bytes` to `to` through the first server that can; `unreachable` is told when none does. */
  signal(to: PeerId, bytes: Uint8Array): void {
    this.#try({ to, bytes, rest: this.#servers.filter((server) => server.connection.state === "ready") });
  }

  /** Our own record, for introductions. */
  present(record: Uint8Array): void {
    for (const { connection } of this.#servers) connection.command({ type: "present", record });
  }

  /** Shows another credential from here on. */
  credential(credential: HeldCredential): void {
    for (const server of this.#servers) {
      server.refusal = undefined;
      server.connection.command({ type: "credential", credential });
    }
  }

  /** Asks every server that listens for the records of some members. */
  introduce(): void {
    for (const { connection } of this.#servers) {
      if (connection.state === "ready") connection.command({ type: "introduce", count: INTRODUCTIONS });
    }
  }

  /** The network may have changed: find out at once which servers are there. */
  nudge(): void {
    for (const { connection } of this.#servers) connection.command({ type: "nudge" });
    this.introduce();
  }

  /** Asks the first server that listens for a new token; false when none does. */
  renew(token: string): boolean {
    const server = this.#servers.find(({ connection }) => connection.state === "ready");
    server?.connection.command({ type: "renew", token });
    return server !== undefined;
  }

  /** Says goodbye everywhere. */
  async leave(): Promise<void> {
    await Promise.all(this.#servers.map(({ connection }) => connection.leave()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map(({ connection }) => connection.close()));
  }

  #try(undelivered: Undelivered): void {
    const server = undelivered.rest.shift();
    if (!server) {
      this.#listener.unreachable(undelivered.to);
      return;
    }
    const id = ++this.#signals >>> 0;
    this.#undecided.set(id, undelivered);
    server.connection.command({ type: "signal", to: undelivered.to, bytes: undelivered.bytes, id });
  }

  #event(server: Server, event: SignalingEvent): void {
    switch (event.type) {
      case "ready":
        server.lastError = undefined;
        this.#log.info("signaling ready", { url: server.connection.url });
        if (event.token !== undefined) this.#listener.token(event.token);
        this.#listener.issuers(event.issuers);
        this.#listener.introduced(event.introductions);
        break;
      case "introduced":
        this.#listener.introduced(event.records);
        break;
      case "renewed":
        this.#listener.token(event.token);
        break;
      case "signal":
        this.#listener.signal(event.bytes);
        break;
      case "undelivered": {
        const undelivered = this.#undecided.get(event.id);
        this.#undecided.delete(event.id);
        if (undelivered) this.#try(undelivered);
        break;
      }
      case "skew":
        server.skewMs = event.skewMs;
        if (Math.abs(event.skewMs) > SKEW_WARNING_MS) this.#listener.skewed(server.connection.url, event.skewMs);
        break;
      default:
        this.#trouble(server, event);
    }
  }

  #trouble(server: Server, event: Trouble): void {
    const { url } = server.connection;
    switch (event.type) {
      case "offline":
        // One line when it is lost, not one for each attempt to come back.
        if (server.lastError === undefined)
          this.#log.warn("signaling lost", { url, reason: event.reason, detail: event.detail });
        server.lastError = event.detail;
        break;
      case "stopped":
        server.lastError = event.detail;
        if (event.reason === "identity-in-use") {
          server.fenced = true;
          this.#listener.fenced(event.detail);
        } else {
          server.refusal = event.reason;
          const everywhere = this.#servers.every(({ refusal }) => refusal !== undefined);
          this.#listener.refused(event.reason, event.detail, everywhere);
        }
        break;
      case "unrenewed":
        this.#log.warn("token not renewed", { url, code: event.code, detail: event.detail });
        break;
      case "expiring":
        break;
      case "fault":
        this.#log.warn("signaling server misbehaves", { url, fault: event.fault });
        break;
    }
  }
}

function stateOf({
  connection,
  fenced,
  refusal,
}: Pick<Server, "connection" | "fenced" | "refusal">): SignalingStatus["state"] {
  if (fenced) return "fenced";
  if (refusal) return "refused";
  return connection.state === "stopped" ? "waiting" : connection.state;
}

type Trouble = Extract<SignalingEvent, { type: "offline" | "stopped" | "unrenewed" | "expiring" | "fault" }>;
