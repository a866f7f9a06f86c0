import type { ConnectionId, RoomsInput, RoomsOutput } from "../../signaling/proto/events.ts";
import { Rooms } from "../../signaling/proto/rooms.ts";
import type { Random } from "../../src/proto/random.ts";
import { EPOCH_MS } from "./epoch.ts";

/** By what members know it. */
export const SERVER_NAME = "server.invalid";
/** When all sessions end: beyond any run. */
export const SESSION_ENDS_AT = EPOCH_MS + 86_400_000;

export interface SignalingServerHost {
  readonly now: number;
  after(delayMs: number, run: () => void): void;
  /** A message for whoever is at the other end. */
  send(connection: ConnectionId, bytes: Uint8Array): void;
  /** Whoever lives at the other end answers: {@link SignalingServer.ponged}. */
  ping(connection: ConnectionId): void;
  /** The server has ended it. */
  closed(connection: ConnectionId): void;
}

/**
 * The signaling server: the production core {@link Rooms} with its own limits, its clock and its connections. It can go down, and
 * comes back with an empty memory. All logins are good, and signatures are not checked.
 */
export class SignalingServer {
  /** Messages that it was sent, in all its lives. */
  messages = 0;
  readonly #host: SignalingServerHost;
  readonly #random: Random;
  readonly #open = new Set<ConnectionId>();
  #up: boolean;
  #rooms: Rooms;
  #connections = 0;
  #alarmAt = Number.POSITIVE_INFINITY;

  constructor(host: SignalingServerHost, random: Random, up: boolean) {
    this.#host = host;
    this.#random = random;
    this.#up = up;
    this.#rooms = this.#begin();
  }

  get up(): boolean {
    return this.#up;
  }

  /** Logins that have succeeded and signals that were handed on, since its last start. */
  get counters(): { readonly logins: number; readonly signals: number } {
    const { welcomes, signals } = this.#rooms.counters;
    return { logins: welcomes, signals };
  }

  /** Goes down, or comes back; all connections end. */
  set(up: boolean): void {
    if (this.#up === up) return;
    this.#up = up;
    const connections = [...this.#open];
    this.#open.clear();
    this.#rooms = this.#begin();
    for (const connection of connections) this.#host.closed(connection);
  }

  /** The number of the next connection. */
  number(): ConnectionId {
    return ++this.#connections;
  }

  /** A connection opens, and says hello along with it. */
  connect(connection: ConnectionId, address: string, hello: Uint8Array): void {
    this.#open.add(connection);
    this.#input({ type: "connected", connection, address });
    this.message(connection, hello);
  }

  message(connection: ConnectionId, bytes: Uint8Array): void {
    if (!this.#open.has(connection)) return;
    this.messages++;
    this.#input({ type: "message", connection, bytes });
  }

  ponged(connection: ConnectionId): void {
    if (this.#open.has(connection)) this.#input({ type: "ponged", connection });
  }

  disconnect(connection: ConnectionId): void {
    if (this.#open.delete(connection)) this.#input({ type: "disconnected", connection });
  }

  #begin(): Rooms {
    return new Rooms({ names: [SERVER_NAME], random: this.#random.fork(`start ${this.#host.now}`) });
  }

  #input(input: RoomsInput): void {
    for (const output of this.#rooms.handle(input, this.#host.now)) this.#perform(output);
    const at = this.#rooms.deadline() ?? Number.POSITIVE_INFINITY;
    if (at >= this.#alarmAt) return;
    this.#alarmAt = at;
    this.#host.after(Math.max(0, at - this.#host.now), () => {
      if (this.#alarmAt !== at) return;
      this.#alarmAt = Number.POSITIVE_INFINITY;
      this.#input({ type: "timeout" });
    });
  }

  #perform(output: RoomsOutput): void {
    if (output.type === "send") this.#host.send(output.connection, output.bytes);
    else if (output.type === "ping") this.#host.ping(output.connection);
    else if (output.type === "close") {
      this.disconnect(output.connection);
      this.#host.closed(output.connection);
    } else if (output.type === "authenticate") {
      const { connection, request } = output;
      const verdict = {
        ok: true,
        subject: request.peer,
        expiresAt: SESSION_ENDS_AT,
        scopes: [],
        issuers: new Uint8Array(0),
      } as const;
      this.#input({ type: "authenticated", connection, verdict });
    }
  }
}
