import type { ConnectionId, RoomsInput, RoomsOutput } from "../../signaling/proto/events.ts";
import { defaultRoomsLimits } from "../../signaling/proto/limits.ts";
import { Rooms } from "../../signaling/proto/rooms.ts";
import { RecentMap } from "../../src/proto/bounded.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { fraction, type Random, randomBytes } from "../../src/proto/random.ts";
import { SignalingClient } from "../../src/proto/signaling/client.ts";
import type { SignalingInput, SignalingOutput } from "../../src/proto/signaling/client-events.ts";
import type { Clock } from "./clock.ts";
import { EPOCH_MS } from "./epoch.ts";

/** From a member to the server, ms: 10 to 40, the same as long as a connection stands. */
const LEAST_MS = 10;
const SPAN_MS = 30;
/** Ways to and fro until a WebSocket over TLS is open: TCP, TLS, upgrade. */
const OPENING_WAYS = 6;
const CLUSTER = "simulated";
const SERVER = "server.invalid";
/** Beyond any run. */
const SESSION_MS = 86_400_000;
/** As many as agents ask for. */
const INTRODUCTIONS = 8;
/** Signals that may still be handed back. */
const MAX_UNDECIDED = 1_024;

/** Who has a connection to the server: a member's process. */
export interface Caller {
  readonly index: number;
  readonly id: PeerId;
  readonly boot: number;
  readonly clock: Clock;
}

export interface SignalingHost<Member extends Caller> {
  readonly now: number;
  after(delayMs: number, run: () => void): void;
  /** The server has told `member` of some others. */
  introduced(member: Member, records: readonly Uint8Array[]): void;
  /** `member` was handed what `from` said. */
  signaled(member: Member, from: PeerId, bytes: Uint8Array): void;
  /** What `member` said to `to` is lost: one of the two is not logged in. */
  undelivered(member: Member, to: PeerId, bytes: Uint8Array): void;
}

/** A process's end of its connection. */
interface Line<Member extends Caller> {
  readonly member: Member;
  readonly client: SignalingClient;
  /** Signals that the server may still hand back. */
  readonly sent: RecentMap<number, { readonly to: PeerId; readonly bytes: Uint8Array }>;
  /** Its process has ended: nothing is sent or heard any more. */
  dead: boolean;
  connection: ConnectionId | undefined;
  attempt: number;
  oneWayMs: number;
  /** When it is looked whether the client wants a time-out; infinite: not at all. */
  alarmAt: number;
}

/**
 * The signaling server and everybody's connection to it: the production cores of both sides, {@link Rooms} and
 * {@link SignalingClient}, with their patience, back-off and limits. Between them is time and no loss. All members come from
 * addresses of their own, all logins are good, and signatures are not checked.
 */
export class Signaling<Member extends Caller> {
  readonly #host: SignalingHost<Member>;
  readonly #random: Random;
  readonly #lines = new Map<PeerId, Line<Member>>();
  readonly #connected = new Map<ConnectionId, Line<Member>>();
  #up: boolean;
  #rooms: Rooms;
  #connections = 0;
  #signals = 0;
  #alarmAt = Number.POSITIVE_INFINITY;
  /** Messages that the server was sent, by all its clients. */
  messages = 0;

  constructor(host: SignalingHost<Member>, random: Random, up: boolean) {
    this.#host = host;
    this.#random = random;
    this.#up = up;
    this.#rooms = this.#open();
  }

  get up(): boolean {
    return this.#up;
  }

  /** Logins that have succeeded and signals that were handed on, since the server's last start. */
  get counters(): { readonly logins: number; readonly signals: number } {
    const { welcomes, signals } = this.#rooms.counters;
    return { logins: welcomes, signals };
  }

  /** A process starts, and connects. */
  begin(member: Member): void {
    const random = this.#random.fork(`client ${member.index} boot ${member.boot}`);
    const instance = randomBytes(random, 16);
    const client = new SignalingClient({
      serverName: SERVER,
      peer: member.id,
      cluster: CLUSTER,
      run: { instance, startedAt: member.clock.at(this.#host.now) },
      credential: { kind: "member", token: "token", expiresAt: EPOCH_MS + SESSION_MS },
      random,
    });
    const oneWayMs = LEAST_MS + SPAN_MS * fraction(random);
    const alarmAt = Number.POSITIVE_INFINITY;
    const sent: Line<Member>["sent"] = new RecentMap(MAX_UNDECIDED);
    const line = { member, client, sent, dead: false, connection: undefined, attempt: 0, oneWayMs, alarmAt };
    this.#lines.set(member.id, line);
    this.#input(line, { type: "timeout" });
  }

  /** The process has ended: in good order, or without a word. */
  end(member: Member, orderly: boolean): void {
    const line = this.#lines.get(member.id);
    if (line === undefined) return;
    if (orderly) this.#input(line, { type: "leave" });
    line.dead = true;
    this.#lines.delete(member.id);
  }

  /** The server goes down, or comes back and remembers nobody. */
  set(up: boolean): void {
    if (this.#up === up) return;
    this.#up = up;
    const lines = [...this.#connected.values()];
    this.#connected.clear();
    this.#rooms = this.#open();
    for (const line of lines) this.#lose(line, line.attempt);
  }

  present(member: Member, record: Uint8Array): void {
    this.#order(member, { type: "present", record });
  }

  introduce(member: Member): void {
    if (this.isReady(member)) this.#order(member, { type: "introduce", count: INTRODUCTIONS });
  }

  /** As the agent nudges its servers. */
  nudge(member: Member, unlessReady: boolean): void {
    if (unlessReady && this.isReady(member)) return;
    this.#order(member, { type: "nudge" });
    this.introduce(member);
  }

  /** Whether `member` is logged in, as far as it knows. */
  isReady(member: Member): boolean {
    return this.#lines.get(member.id)?.client.state === "ready";
  }

  signal(member: Member, to: PeerId, bytes: Uint8Array): void {
    const id = ++this.#signals;
    this.#lines.get(member.id)?.sent.set(id, { to, bytes });
    this.#order(member, { type: "signal", to, bytes, id });
  }

  #order(member: Member, order: SignalingInput): void {
    const line = this.#lines.get(member.id);
    if (line !== undefined) this.#input(line, order);
  }

  #open(): Rooms {
    const random = this.#random.fork(`server ${this.#host.now}`);
    return new Rooms({ names: [SERVER], random, limits: defaultRoomsLimits });
  }

  // A member's side

  #input(line: Line<Member>, input: SignalingInput): void {
    if (line.dead) return;
    const { client, member } = line;
    for (const output of client.handle(input, member.clock.at(this.#host.now))) this.#output(line, output);
    this.#arm(line);
  }

  #output(line: Line<Member>, output: SignalingOutput): void {
    const { member, sent } = line;
    switch (output.type) {
      case "connect":
        this.#connect(line, output.attempt, output.hello);
        break;
      case "transmit":
        this.#later(line.oneWayMs, line.connection, (connection) => {
          this.#toServer({ type: "message", connection, bytes: output.bytes });
        });
        break;
      case "disconnect":
        this.#later(line.oneWayMs, line.connection, (connection) => this.#hangUp(connection));
        line.connection = undefined;
        break;
      case "sign":
        this.#input(line, { type: "signed", signature: new Uint8Array(64), resume: output.resume });
        break;
      case "ready":
        this.#host.introduced(member, output.introductions);
        break;
      case "introduced":
        this.#host.introduced(member, output.records);
        break;
      case "signal":
        this.#host.signaled(member, output.from, output.bytes);
        break;
      case "undelivered": {
        const signal = sent.get(output.id);
        sent.delete(output.id);
        if (signal !== undefined) this.#host.undelivered(member, signal.to, signal.bytes);
        break;
      }
      default:
    }
  }

  #connect(line: Line<Member>, attempt: number, hello: Uint8Array): void {
    line.attempt = attempt;
    const openMs = OPENING_WAYS * line.oneWayMs;
    this.#host.after(openMs - line.oneWayMs, () => {
      if (line.dead) return;
      if (!this.#up) {
        this.#lose(line, attempt);
        return;
      }
      const connection = ++this.#connections;
      this.#connected.set(connection, line);
      line.connection = connection;
      this.#host.after(line.oneWayMs, () => this.#input(line, { type: "opened", attempt, heard: true }));
      this.#toServer({ type: "connected", connection, address: addressOf(line.member) });
      if (this.#connected.has(connection)) this.#toServer({ type: "message", connection, bytes: hello });
    });
  }

  /** The connection of an attempt is gone, and the member hears of it. */
  #lose(line: Line<Member>, attempt: number): void {
    line.connection = undefined;
    this.#host.after(line.oneWayMs, () => this.#input(line, { type: "closed", attempt, reason: "gone" }));
  }

  #arm(line: Line<Member>): void {
    const deadline = line.client.deadline();
    const at = deadline === undefined ? Number.POSITIVE_INFINITY : line.member.clock.when(deadline);
    if (at >= line.alarmAt) return;
    line.alarmAt = at;
    this.#host.after(Math.max(0, at - this.#host.now), () => {
      if (line.alarmAt !== at) return;
      line.alarmAt = Number.POSITIVE_INFINITY;
      this.#input(line, { type: "timeout" });
    });
  }

  // The server's side

  #later(ms: number, connection: ConnectionId | undefined, run: (connection: ConnectionId) => void): void {
    if (connection === undefined) return;
    this.#host.after(ms, () => {
      if (this.#connected.has(connection)) run(connection);
    });
  }

  #hangUp(connection: ConnectionId): void {
    this.#connected.delete(connection);
    this.#toServer({ type: "disconnected", connection });
  }

  #toServer(input: RoomsInput): void {
    if (input.type === "message") this.messages++;
    for (const output of this.#rooms.handle(input, this.#host.now)) this.#fromServer(output);
    const at = this.#rooms.deadline() ?? Number.POSITIVE_INFINITY;
    if (at >= this.#alarmAt) return;
    this.#alarmAt = at;
    this.#host.after(Math.max(0, at - this.#host.now), () => {
      if (this.#alarmAt !== at) return;
      this.#alarmAt = Number.POSITIVE_INFINITY;
      this.#toServer({ type: "timeout" });
    });
  }

  #fromServer(output: RoomsOutput): void {
    if (!("connection" in output)) return;
    const { connection } = output;
    const line = this.#connected.get(connection);
    if (line === undefined) return;
    const { attempt, oneWayMs } = line;
    switch (output.type) {
      case "send":
        this.#host.after(oneWayMs, () => this.#input(line, { type: "received", attempt, bytes: output.bytes }));
        break;
      case "ping":
        this.#host.after(2 * oneWayMs, () => {
          if (!line.dead && this.#connected.has(connection)) this.#toServer({ type: "ponged", connection });
        });
        break;
      case "close":
        this.#hangUp(connection);
        this.#lose(line, attempt);
        break;
      case "authenticate": {
        const { peer } = output.request;
        const expiresAt = EPOCH_MS + SESSION_MS;
        const verdict = { ok: true, subject: peer, expiresAt, scopes: [], issuers: new Uint8Array(0) } as const;
        this.#toServer({ type: "authenticated", connection, verdict });
        break;
      }
      default:
    }
  }
}

/** A member's own address. */
function addressOf({ index }: Caller): string {
  return `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
}
