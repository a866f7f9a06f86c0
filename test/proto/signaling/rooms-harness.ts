import type { OwnDesk } from "../../../signaling/proto/desks.ts";
import type { Admission, Grants, Refusal, RoomsInput, RoomsOutput } from "../../../signaling/proto/events.ts";
import type { RoomsLimits } from "../../../signaling/proto/limits.ts";
import { Rooms } from "../../../signaling/proto/rooms.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { encodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import type { ClientMessage, Malformed, ServerMessage } from "../../../src/proto/signaling/messages.ts";
import { decodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";

export const SERVER = "signal.example";
export const CLUSTER = "cluster-a";
export const START = 1_700_000_000_000;
export const DAY = 86_400_000;

/** An identity of which nobody holds the key: the harness answers for the authority. */
export function testPeer(number: number): PeerId {
  return peerIdOf(new Uint8Array(32).fill(number));
}

export function instanceOf(number: number): Uint8Array {
  return new Uint8Array(16).fill(number);
}

/** An output with what is sent in readable form. */
export type Seen =
  | { readonly to: number; readonly message: ServerMessage | Malformed }
  | Exclude<RoomsOutput, { type: "send" }>;

type Sendable = Exclude<ClientMessage, { type: "foreign-hello" }>;

/** Rooms under a clock of its own, with an authority that says yes unless told otherwise. */
export class Server {
  readonly rooms: Rooms;
  now = START;

  constructor(limits: Partial<RoomsLimits> = {}, desks: readonly OwnDesk[] = [], grants?: Grants) {
    const names = [SERVER, "10.0.0.1:7000"];
    this.rooms = new Rooms({ names, random: new SeededRandom(1), limits, desks, ...(grants && { grants }) });
  }

  handle(input: RoomsInput): Seen[] {
    return this.rooms
      .handle(input, this.now)
      .map((output) =>
        output.type === "send" ? { to: output.connection, message: decodeServerMessage(output.bytes) } : output,
      );
  }

  say(connection: number, message: Sendable): Seen[] {
    return this.handle({ type: "message", connection, bytes: encodeClientMessage(message) });
  }

  /** Moves the clock and lets every deadline on the way pass at its time. */
  pass(ms: number): Seen[] {
    const end = this.now + ms;
    const seen: Seen[] = [];
    for (let due = this.rooms.deadline(); due !== undefined && due <= end; due = this.rooms.deadline()) {
      this.now = Math.max(this.now, due);
      seen.push(...this.handle({ type: "timeout" }));
    }
    this.now = end;
    return seen;
  }

  connect(connection: number, address = "192.0.2.1"): Seen[] {
    return this.handle({ type: "connected", connection, address });
  }

  hello(connection: number, peer: PeerId, cluster = CLUSTER, serverName = SERVER): Seen[] {
    return this.say(connection, { type: "hello", cluster, peer, instance: instanceOf(connection), serverName });
  }

  login(connection: number): Seen[] {
    return this.say(connection, {
      type: "login",
      at: this.now,
      signature: new Uint8Array(64).fill(connection),
      token: "t",
    });
  }

  verdict(connection: number, verdict: Admission | Refusal): Seen[] {
    return this.handle({ type: "authenticated", connection, verdict });
  }

  /** Brings a connection all the way in. */
  join(connection: number, peer: PeerId, { cluster = CLUSTER, expiresAt = this.now + DAY } = {}): Seen[] {
    this.connect(connection);
    this.hello(connection, peer, cluster);
    this.login(connection);
    return this.verdict(connection, admission(peer, expiresAt));
  }
}

export function admission(subject: PeerId, expiresAt = START + DAY): Admission {
  return { ok: true, subject, expiresAt, scopes: [], issuers: new Uint8Array([9]) };
}

/** The messages of `seen` that went to `connection`. */
export function told(seen: readonly Seen[], connection: number): (ServerMessage | Malformed)[] {
  return seen.flatMap((entry) => ("to" in entry && entry.to === connection ? [entry.message] : []));
}
