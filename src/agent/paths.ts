import { readInterfaces } from "../drivers/interfaces.ts";
import { Runner } from "../host/runner.ts";
import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import { type GrantSource, type GrantsInput, type GrantsOutput, IceGrants } from "../proto/negotiation/ice-grants.ts";
import type { DialResult, RoundReport } from "../proto/negotiation/outcome.ts";
import { OwnCandidates, sortAddresses } from "../proto/negotiation/own-candidates.ts";
import {
  type KeptPath,
  PathKeeper,
  type PathKeeperInput,
  type PathKeeperOutput,
} from "../proto/negotiation/path-keeper.ts";
import { DEFAULT_LADDER, DIRECT_LADDER, type DialPlan, ladderFor, UDP_WITHIN_MS } from "../proto/negotiation/plan.ts";
import type { IceServer, RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import { RungMemory } from "../proto/negotiation/rung-memory.ts";
import { type OfferedServer, ServerPool } from "../proto/negotiation/server-pool.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Random } from "../proto/random.ts";
import type { IceGrant } from "../proto/signaling/messages.ts";
import type { RtcStack } from "../rtc.ts";
import type { Stacks } from "./stacks.ts";

/** Peers whose last dial is remembered for people who ask: more than an agent is linked with. */
const MAX_TRACES = 256;

/** Links whose path may still move: as many as are kept an eye on. */
const MAX_SETTLING = 4_096;

/** Without a server's answer over UDP for so long the next rung is prepared, ms: most answer within 100 ms. */
const DOUBT_MS = 300;

/** How long a dial that is asked for may take to begin as a direct one, ms: three tries and their pauses. */
const DIRECT_MS = 20_000;

/** The last dial with a peer. */
export interface DialTrace {
  readonly at: Instant;
  readonly result: DialResult;
  readonly rounds: readonly RoundReport[];
}

/** A connection that is being made, and the stack that makes it. */
export interface DialedConnection {
  readonly connection: RtcConnection;
  readonly stack: RtcStack;
}

/** What paths ask of their agent. */
export interface PathsHost {
  /** Ask the source of a grant for another one. */
  ask(source: GrantSource): void;
  /** Make another connection for the link to `peer`. */
  renew(peer: PeerId, reason: "credential" | "better-path"): void;
}

/** What an operator says of this machine's network. */
export interface NetworkOptions {
  /** Loopback or tunnel addresses to offer as well. */
  readonly extraAddresses: readonly string[];
  /** Interfaces that are not offered, by how their names begin; undefined: the default. */
  readonly skipInterfaces?: readonly string[] | undefined;
  readonly portRange?: readonly [first: number, last: number] | undefined;
  /** Addresses by which others reach this machine, beside its own. */
  readonly announce?: readonly string[];
  readonly localNames?: boolean;
}

/** How this agent gets through: which plans a dial has, which stack and servers a plan means here, and what became of them. */
export class Paths {
  readonly #stacks: Stacks;
  readonly #network: NetworkOptions;
  readonly #now: () => Instant;
  readonly #pool: ServerPool;
  readonly #memory = new RungMemory();
  readonly #traces = new RecentMap<PeerId, DialTrace>(MAX_TRACES);
  readonly #grants: Runner<GrantsInput, GrantsOutput>;
  readonly #keeper: Runner<PathKeeperInput, PathKeeperOutput>;
  /** Until when the next dial with a peer tries a direct path alone. */
  readonly #directUntil = new RecentMap<PeerId, Instant>(MAX_TRACES);
  /** What carries each link, until its path has settled. */
  readonly #settling = new RecentMap<PeerId, RtcConnection>(MAX_SETTLING);
  /** When the TURN credential of a connection ends. */
  readonly #credentialEnds = new WeakMap<RtcConnection, Instant>();
  #servers: readonly OfferedServer[];

  constructor(
    options: {
      readonly trust: { readonly id: PeerId };
      readonly random: Random;
      readonly stacks: Stacks;
      readonly iceServers: readonly OfferedServer[];
      readonly network: NetworkOptions;
      readonly now: () => Instant;
    },
    host: PathsHost,
  ) {
    this.#stacks = options.stacks;
    this.#network = options.network;
    this.#now = options.now;
    this.#servers = options.iceServers;
    this.#pool = new ServerPool(options.iceServers);
    this.#keeper = new Runner(
      new PathKeeper(options.trust.id, options.random),
      options.now,
      () => ({ type: "timeout" }),
      (output) => this.#keep(output, host),
    );
    this.#grants = new Runner(
      new IceGrants(options.iceServers),
      options.now,
      () => ({ type: "timeout" }),
      (output) => {
        if (output.type === "ask") host.ask(output.source);
        else this.#offered(output.servers);
      },
    );
  }

  /** A source of STUN and TURN servers lets us use these; their ends by its own clock, which is `skewMs` ahead of ours. */
  granted(source: GrantSource, grants: readonly IceGrant[], skewMs: number): void {
    const servers = grants.map(({ expiresAt, ...server }) => ({
      ...server,
      ...(expiresAt !== undefined && { expiresAt: expiresAt - skewMs }),
    }));
    this.#grants.input({ type: "granted", source, servers });
  }

  /** The source lends us nothing any more. */
  withdrawn(source: GrantSource): void {
    this.#grants.input({ type: "withdrawn", source });
  }

  /** Ends its timers. */
  close(): void {
    this.#keeper.close();
    this.#grants.close();
  }

  /** The plans for a dial with `peer`, the likeliest first. @param isLinked a link stands, which may be relayed without need. */
  ladder(peer: PeerId, isLinked: boolean): readonly DialPlan[] {
    if (isLinked && this.#now() < (this.#directUntil.get(peer) ?? 0)) return DIRECT_LADDER;
    if (this.#stacks.streams === undefined) return DEFAULT_LADDER;
    const now = this.#now();
    return this.#memory.order(peer, ladderFor(this.#pool.ways(now)), now);
  }

  /** Begins a connection by `plan`. */
  connect(plan: DialPlan, initiator: boolean, notify: (event: RtcEvent) => void): DialedConnection {
    const { stack, iceServers } = this.#means(plan);
    const watch = this.#watch(iceServers, plan.udpWithinMs !== undefined);
    const { extraAddresses, skipInterfaces, portRange, announce = [], localNames = false } = this.#network;
    const { skipped, extra } = sortAddresses(readInterfaces(), skipInterfaces);
    const own = new OwnCandidates(skipped, announce);
    const connection = stack.connect(
      {
        initiator,
        iceServers: iceServers.map(({ expiresAt: _, ...server }) => server),
        iceTransportPolicy: plan.policy,
        extraAddresses: [...extraAddresses, ...extra],
        keepLocalNames: localNames,
        ...(portRange && { portRange }),
      },
      (event) => {
        watch(event);
        if (event.type !== "candidate") notify(event);
        else for (const candidate of own.take(event.candidate)) notify({ ...event, candidate });
      },
    );
    const endsAt = iceServers.find(({ expiresAt }) => expiresAt !== undefined)?.expiresAt;
    if (endsAt !== undefined) this.#credentialEnds.set(connection, endsAt);
    return { connection, stack };
  }

  /** `connection` carries the link to `peer` from here on. */
  linked(peer: PeerId, connection: RtcConnection): void {
    this.#directUntil.delete(peer);
    this.#settling.set(peer, connection);
    this.#keeper.input({ type: "linked", ...this.#pathOf(peer, connection) });
  }

  /** There is no link to `peer` any more. */
  lost(peer: PeerId): void {
    this.#directUntil.delete(peer);
    this.#settling.delete(peer);
    this.#keeper.input({ type: "lost", peer });
  }

  /** This machine's addresses have changed: what was learned of paths does not hold any more. */
  moved(): void {
    this.#memory.moved();
    this.#keeper.input({ type: "moved" });
  }

  /** A dial with `peer` is over. */
  ended(peer: PeerId, result: DialResult, rounds: readonly RoundReport[]): void {
    const at = this.#now();
    this.#traces.set(peer, { at, result, rounds });
    if (rounds.some(({ failure }) => failure?.reason === "no-udp")) this.#memory.blocked(at);
    if (result.ok) this.#memory.linked(peer, result.rung, at);
  }

  /** Every server that may be used at present. */
  get servers(): readonly IceServer[] {
    return this.#servers;
  }

  /** The last dial with `peer`. */
  trace(peer: PeerId): DialTrace | undefined {
    return this.#traces.get(peer);
  }

  #keep(output: PathKeeperOutput, host: PathsHost): void {
    const { peer } = output;
    if (output.type === "look") {
      const connection = this.#settling.get(peer);
      this.#settling.delete(peer);
      if (connection !== undefined) this.#keeper.input({ type: "settled", ...this.#pathOf(peer, connection) });
      return;
    }
    if (output.reason === "direct") this.#directUntil.set(peer, this.#now() + DIRECT_MS);
    host.renew(peer, output.reason === "direct" ? "better-path" : "credential");
  }

  #pathOf(peer: PeerId, connection: RtcConnection): KeptPath {
    const pair = connection.selectedPair();
    const isRelayed = pair?.local.kind === "relay" || pair?.remote.kind === "relay";
    const endsAt = pair?.local.kind === "relay" ? this.#credentialEnds.get(connection) : undefined;
    return { peer, isRelayed, ...(endsAt !== undefined && { credentialEndsAt: endsAt }) };
  }

  #offered(servers: readonly OfferedServer[]): void {
    this.#servers = servers;
    this.#pool.update(servers);
  }

  #means(plan: DialPlan): { readonly stack: RtcStack; readonly iceServers: readonly OfferedServer[] } {
    const { best, streams, isCustom } = this.#stacks;
    if (isCustom) return { stack: best, iceServers: this.#servers };
    if (plan.rung === "direct") {
      const iceServers = this.#pool.choose("udp", this.#now()).filter(({ credential }) => credential === undefined);
      return { stack: best, iceServers };
    }
    const now = this.#now();
    const overStreams = plan.rung === "udp" || streams === undefined ? [] : this.#pool.choose(plan.rung, now);
    if (streams !== undefined && overStreams.length > 0) return { stack: streams, iceServers: overStreams };
    // On a rung that we have no server for we are the side whose UDP passes: the peer needs its relay, not we.
    return { stack: best, iceServers: this.#pool.choose("udp", now) };
  }

  /** Learns from what a connection gathers which of its servers answer, and how fast. */
  #watch(iceServers: readonly IceServer[], isJudged: boolean): (event: RtcEvent) => void {
    const [stun, turn] = (["stun", "turn"] as const).map(
      (kind) => iceServers.find(({ urls }) => typeof urls === "string" && urls.startsWith(kind))?.urls as string,
    );
    let since = 0;
    let doubt: NodeJS.Timeout | undefined;
    const answers = new Set<string>();
    const answered = (url: string | undefined): void => {
      if (url === undefined || answers.has(url)) return;
      answers.add(url);
      this.#pool.answered(url, this.#now() - since);
    };
    return (event) => {
      if (event.type === "ice-connected" || event.type === "closed") clearTimeout(doubt);
      if (event.type === "description") {
        since = this.#now();
        // Should UDP turn out to be blocked, the other stack is there when its turn comes.
        if (isJudged) doubt = setTimeout(() => answers.size === 0 && this.#stacks.warm(), DOUBT_MS).unref();
      } else if (event.type === "candidate" && event.candidate.includes(" typ srflx")) answered(stun ?? turn);
      else if (event.type === "candidate" && event.candidate.includes(" typ relay")) answered(turn);
      else if (event.type === "closed" && answers.size === 0 && this.#now() - since >= UDP_WITHIN_MS) {
        for (const url of [stun, turn]) if (url !== undefined && since > 0) this.#pool.silent(url, this.#now());
      }
    };
  }
}
