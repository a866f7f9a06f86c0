import {
  connectSignaling,
  type SignalingConnection,
  type SignalingEvent,
  type SignalingTls,
} from "../drivers/signaling.ts";
import type { Logger } from "../options.ts";
import { RecentMap } from "../proto/bounded.ts";
import { type DecreeSet, differing } from "../proto/decrees/decree-set.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Random } from "../proto/random.ts";
import type { HeldCredential } from "../proto/signaling/client-events.ts";
import type { IceGrant, RefusalCode } from "../proto/signaling/messages.ts";
import { instanceOf } from "../proto/signaling/resumption.ts";
import type { SignalingStatus } from "../status.ts";
import { askDesk } from "./ask-desk.ts";
import { member } from "./credential.ts";
import type { RefreshKeys } from "./refresh-keys.ts";
import type { Trust } from "./trust.ts";

/** What the servers tell the agent. */
export interface ServersListener {
  /** A member token was issued or renewed for us. */
  token(text: string): void;
  /** No server renews our token. `why`: the last one's word. */
  unrenewed(why: string): void;
  /** Somebody asks our desk: the sealed answer, if there is one. */
  asked(request: Uint8Array): Promise<Uint8Array | undefined>;
  /** A server listens: signals have a way again. */
  ready(): void;
  /** A line for people on how a server stands. */
  progress(line: string): void;
  /** What a server's own issuer has decreed, unchecked; resolves to how many of them were no news. */
  decreed(decrees: readonly Uint8Array[]): Promise<number>;
  /** A signed list of issuing keys, unchecked. */
  issuers(encoded: Uint8Array): void;
  /** STUN and TURN servers that the server at `url` lets us use; their ends by its own clock, which is `skewMs` ahead of ours. */
  granted(url: string, iceServers: readonly IceGrant[], skewMs: number): void;
  /** Records of members, unchecked. `alone`: the server knows nobody else. */
  introduced(records: readonly Uint8Array[]): void;
  signal(bytes: Uint8Array): void;
  /** No server could hand the signal on. */
  undelivered(peer: PeerId, bytes: Uint8Array): void;
  /** Another agent runs with our key. */
  fenced(detail: string): void;
  /** A server refuses us for good; `everywhere` when no other is left to try. */
  refused(code: RefusalCode, detail: string, everywhere: boolean): void;
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
  /** It can be reached, and knows no issuer for our token. */
  lacksIssuer: boolean;
  fenced: boolean;
  /** The token that was shown after the one before it was refused as void. */
  shownAgain: string | undefined;
  skewMs: number | undefined;
  /** Decrees from it that were known, forged or not to be believed. */
  idleDecrees: number;
}

/** Signals that wait for a server's no: a burst of candidates to a few hundred peers. */
const MAX_UNDECIDED = 1_024;
/** A difference of clocks beyond this is worth a warning: half of what tokens forgive. */
const SKEW_WARNING_MS = 30_000;
/** Decrees of one server that were no news, before nothing is checked any more that it says of them: each may cost a signature. */
const MAX_IDLE_DECREES = 1_024;
/** Members asked for at a time: enough that one crossing link is all but certain. */
const INTRODUCTIONS = 8;

/** The signaling servers of one agent: each connection is kept up by itself, a signal goes through the first that delivers. */
export class Servers {
  readonly #listener: ServersListener;
  readonly #trust: Trust;
  readonly #decrees: DecreeSet;
  readonly #log: Logger;
  readonly #servers: Server[] = [];
  readonly #undecided = new RecentMap<number, Undelivered>(MAX_UNDECIDED);
  #signals = 0;
  /** Servers that have not been asked yet for the renewal under way. */
  #renewal: { readonly token: string; readonly rest: Server[] } | undefined;

  constructor(options: {
    readonly urls: readonly string[];
    readonly tls?: SignalingTls | undefined;
    readonly trust: Trust;
    readonly refresh: RefreshKeys;
    readonly credential: HeldCredential;
    readonly random: Random;
    readonly now: () => Instant;
    readonly log: Logger;
    readonly listener: ServersListener;
  }) {
    const { trust, credential, random, now } = options;
    this.#listener = options.listener;
    this.#trust = trust;
    this.#decrees = trust.decrees;
    this.#log = options.log;
    const { publicKey, secretKey } = trust.crypto.boxKeyPair();
    const share = { publicKey, agree: (other: Uint8Array) => trust.crypto.agree(other, secretKey) };
    const run = { instance: instanceOf(publicKey), share, startedAt: now() };
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
            askDesk: (token, desks) => askDesk(options, token, desks, now()),
          },
          random,
          now,
          ...(options.tls && { tls: options.tls }),
        },
        (event) => this.#event(server, event),
      );
      const server: Server = {
        connection,
        lastError: undefined,
        refusal: undefined,
        lacksIssuer: false,
        fenced: false,
        shownAgain: undefined,
        skewMs: undefined,
        idleDecrees: 0,
      };
      this.#servers.push(server);
      if (connection.plaintext)
        this.#log.warn("signaling without TLS: a listener sees the token", { url: connection.url });
    }
  }

  /** Whether any server has logged us in. */
  get ready(): boolean {
    return this.#servers.some((server) => server.connection.state === "ready");
  }

  /** Whether a server can be reached, and none of those that can knows an issuer for our token. */
  get lacksIssuer(): boolean {
    return this.#servers.some((server) => server.lacksIssuer);
  }

  status(): SignalingStatus[] {
    return this.#servers.map(({ connection, lastError, refusal, fenced, skewMs }) => ({
      url: connection.url,
      state: stateOf({ connection, fenced, refusal }),
      ...(lastError !== undefined && { lastError }),
      ...(skewMs !== undefined && { skewMs: Math.round(skewMs) }),
    }));
  }

  /** Hands `bytes` to `to` through the first server that can; `undelivered` is told when none does. */
  signal(to: PeerId, bytes: Uint8Array): void {
    this.#try({ to, bytes, rest: this.#servers.filter((server) => server.connection.state === "ready") });
  }

  /** Our own record, for introductions. */
  present(record: Uint8Array): void {
    for (const { connection } of this.#servers) connection.command({ type: "present", record });
  }

  /** Our own desk, for newcomers. */
  desk(desk: Uint8Array): void {
    for (const { connection } of this.#servers) connection.command({ type: "desk", desk });
  }

  /** Shows another credential from here on. */
  credential(credential: HeldCredential): void {
    for (const server of this.#servers) {
      server.refusal = undefined;
      server.connection.command({ type: "credential", credential });
    }
  }

  /** Tells the servers what the cluster has decreed, so that they too refuse whom it has revoked. */
  compareDecrees(): void {
    for (const { connection } of this.#servers) {
      if (connection.state === "ready") connection.command({ type: "compare", sums: this.#decrees.sums() });
    }
  }

  /** Asks every server that listens for the records of some members. */
  introduce(): void {
    for (const { connection } of this.#servers) {
      if (connection.state === "ready") connection.command({ type: "introduce", count: INTRODUCTIONS });
    }
  }

  /** Asks the server at `url` for its STUN and TURN servers again. */
  askIce(url: string): void {
    for (const { connection } of this.#servers) {
      if (connection.url === url && connection.state === "ready") connection.command({ type: "ice" });
    }
  }

  /** The network may have changed: find out at once which servers are there. */
  nudge(): void {
    for (const { connection } of this.#servers) connection.command({ type: "nudge" });
    this.introduce();
  }

  /** Asks the servers that listen for a new token, one after the other; false when none does. `shown`: the old one. */
  renew(shown: string): boolean {
    this.#renewal = { token: shown, rest: this.#servers.filter(({ connection }) => connection.state === "ready") };
    return this.#renewAtNext();
  }

  /** Says goodbye everywhere. */
  async leave(): Promise<void> {
    await Promise.all(this.#servers.map(({ connection }) => connection.leave()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map(({ connection }) => connection.close()));
  }

  /** A server goes by the token of the login: whoever has another by now shows it, once. */
  #showsAnother(server: Server): boolean {
    const { token } = this.#trust;
    if (token === undefined || server.shownAgain === token.text || this.#decrees.voids(token.facts)) return false;
    server.shownAgain = token.text;
    server.connection.command({ type: "credential", credential: member(token.text) });
    return true;
  }

  #warnOfSkew(url: string, skewMs: number): void {
    const seconds = Math.round(Math.abs(skewMs) / 1_000);
    const direction = skewMs > 0 ? "behind" : "ahead of";
    this.#log.warn(`this machine's clock is ${seconds} s ${direction} the server's; set it right`, { url });
  }

  #granted(server: Server, iceServers: readonly IceGrant[]): void {
    if (iceServers.length > 0) this.#listener.granted(server.connection.url, iceServers, server.skewMs ?? 0);
  }

  #renewAtNext(): boolean {
    const server = this.#renewal?.rest.shift();
    if (this.#renewal && server) server.connection.command({ type: "renew", token: this.#renewal.token });
    else this.#renewal = undefined;
    return server !== undefined;
  }

  #try(undelivered: Undelivered): void {
    const server = undelivered.rest.shift();
    if (!server) {
      this.#listener.undelivered(undelivered.to, undelivered.bytes);
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
        server.lacksIssuer = false;
        this.#log.info("signaling ready", { url: server.connection.url });
        this.#listener.progress(`${server.connection.url}: logged in`);
        this.#listener.ready();
        this.#listener.issuers(event.issuers);
        this.#listener.introduced(event.introductions);
        this.#granted(server, event.iceServers);
        server.connection.command({ type: "compare", sums: this.#decrees.sums() });
        break;
      case "wanted":
        for (const decrees of differing(this.#decrees, event.sums)) {
          server.connection.command({ type: "decrees", decrees });
        }
        break;
      case "decreed":
        if (server.idleDecrees < MAX_IDLE_DECREES)
          void this.#listener.decreed(event.decrees).then((idle) => {
            server.idleDecrees += idle;
          });
        break;
      case "introduced":
        this.#listener.introduced(event.records);
        break;
      case "issued":
        this.#listener.progress(`${server.connection.url}: an issuer has made a member token`);
        this.#listener.token(event.token);
        break;
      case "renewed":
        this.#renewal = undefined;
        this.#listener.token(event.token);
        this.#granted(server, event.iceServers);
        break;
      case "granted":
        this.#granted(server, event.iceServers);
        break;
      case "asked":
        void this.#listener.asked(event.bytes).then((bytes) => {
          const { attempt, id } = event;
          if (bytes !== undefined) server.connection.command({ type: "answer", attempt, id, bytes });
        });
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
        if (Math.abs(event.skewMs) > SKEW_WARNING_MS) this.#warnOfSkew(server.connection.url, event.skewMs);
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
        if (server.lastError !== event.detail) this.#listener.progress(`${url}: ${event.detail}; trying again`);
        server.lastError = event.detail;
        server.lacksIssuer = event.code === "issuer-unreachable";
        break;
      case "stopped":
        server.lastError = event.detail;
        if (event.reason === "identity-in-use") {
          server.fenced = true;
          this.#listener.fenced(event.detail);
        } else if (event.reason === "token-revoked" && this.#showsAnother(server)) {
          this.#log.info("the server knows a former token of ours that is void: ours is shown", { url });
        } else {
          server.refusal = event.reason;
          const everywhere = this.#servers.every(({ refusal }) => refusal !== undefined);
          this.#listener.refused(event.reason, event.detail, everywhere);
        }
        break;
      case "unrenewed":
        this.#log.warn("token not renewed", { url, code: event.code, detail: event.detail });
        if (this.#renewal && !this.#renewAtNext()) this.#listener.unrenewed(event.detail);
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
