import type { ConnectionId } from "../../signaling/proto/events.ts";
import { RecentMap } from "../../src/proto/bounded.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { fraction, type Random, randomBytes } from "../../src/proto/random.ts";
import { SignalingClient } from "../../src/proto/signaling/client.ts";
import type { SignalingInput, SignalingOutput } from "../../src/proto/signaling/client-events.ts";
import type { Clock } from "./clock.ts";
import { SERVER_NAME, SESSION_ENDS_AT, SignalingServer } from "./signaling-server.ts";

/** From a member to the server, ms: 10 to 40, the same as long as a connection stands. */
const LEAST_MS = 10;
const SPAN_MS = 30;
/** Ways to and fro until a WebSocket over TLS is open: TCP, TLS, upgrade. */
const OPENING_WAYS = 6;
const CLUSTER = "simulated";
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
 * Everybody's connection to the signaling server: the production core of that side too, {@link SignalingClient}, with its patience and
 * back-off. Between the two is time and no loss. All members come from addresses of their own.
 */
export class Signaling<Member extends Caller> {
  readonly server: SignalingServer;
  readonly #host: SignalingHost<Member>;
  readonly #random: Random;
  readonly #lines = new Map<PeerId, Line<Member>>();
  readonly #connected = new Map<ConnectionId, Line<Member>>();
  #signals = 0;

  constructor(host: SignalingHost<Member>, random: Random, up: boolean) {
    this.#host = host;
    this.#random = random;
    const connected = this.#connected;
    const later = (connection: ConnectionId, ways: number, run: (line: Line<Member>) => void): void => {
      const line = connected.get(connection);
      if (line !== undefined) host.after(ways * line.oneWayMs, () => run(line));
    };
    const input = (line: Line<Member>, event: SignalingInput): void => this.#input(line, event);
    this.server = new SignalingServer(
      {
        get now() {
          return host.now;
        },
        after: (delayMs, run) => host.after(delayMs, run),
        send: (connection, bytes) =>
          later(connection, 1, (line) => {
            if (line.connection === connection) input(line, { type: "received", attempt: line.attempt, bytes });
          }),
        ping: (connection) =>
          later(connection, 2, (line) => {
            if (!line.dead) this.server.ponged(connection);
          }),
        closed: (connection) => {
          later(connection, 1, (line) => {
            if (line.connection === connection) this.#lost(line, line.attempt);
          });
          connected.delete(connection);
        },
      },
      random.fork("server"),
      up,
    );
  }

  /** A process starts, and connects. */
  begin(member: Member): void {
    const random = this.#random.fork(`client ${member.index} boot ${member.boot}`);
    const client = new SignalingClient({
      serverName: SERVER_NAME,
      peer: member.id,
      cluster: CLUSTER,
      run: { instance: randomBytes(random, 16), startedAt: member.clock.at(this.#host.now) },
      credential: { kind: "member", token: "token", expiresAt: SESSION_ENDS_AT },
      random,
    });
    const line: Line<Member> = {
      member,
      client,
      sent: new RecentMap(MAX_UNDECIDED),
      dead: false,
      connection: undefined,
      attempt: 0,
      oneWayMs: LEAST_MS + SPAN_MS * fraction(random),
      alarmAt: Number.POSITIVE_INFINITY,
    };
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

  #input(line: Line<Member>, input: SignalingInput): void {
    if (line.dead) return;
    const { client, member } = line;
    for (const output of client.handle(input, member.clock.at(this.#host.now))) this.#perform(line, output);
    this.#arm(line);
  }

  #perform(line: Line<Member>, output: SignalingOutput): void {
    const { member, sent, connection, oneWayMs } = line;
    switch (output.type) {
      case "connect":
        this.#connect(line, output.attempt, output.hello);
        break;
      case "transmit":
        if (connection !== undefined) this.#host.after(oneWayMs, () => this.server.message(connection, output.bytes));
        break;
      case "disconnect":
        line.connection = undefined;
        if (connection !== undefined) this.#host.after(oneWayMs, () => this.server.disconnect(connection));
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
    this.#host.after((OPENING_WAYS - 1) * line.oneWayMs, () => {
      if (line.dead || line.attempt !== attempt) return;
      if (!this.server.up) {
        this.#host.after(line.oneWayMs, () => this.#lost(line, attempt));
        return;
      }
      const connection = this.server.number();
      this.#connected.set(connection, line);
      line.connection = connection;
      this.#host.after(line.oneWayMs, () => this.#input(line, { type: "opened", attempt, heard: true }));
      this.server.connect(connection, addressOf(line.member), hello);
    });
  }

  /** The connection of an attempt is gone, or did not come about. */
  #lost(line: Line<Member>, attempt: number): void {
    line.connection = undefined;
    this.#input(line, { type: "closed", attempt, reason: "gone" });
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
}

/** A member's own address. */
function addressOf({ index }: Caller): string {
  return `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
}
