import { SeededRandom } from "../../../src/proto/random.ts";
import type { Endpoint, Family } from "../../../stun/proto/address.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import type { Credentials } from "../../../stun/proto/credentials.ts";
import type { ClientPath, TurnOutput } from "../../../stun/proto/events.ts";
import { longTermKey } from "../../../stun/proto/integrity.ts";
import type { TurnLimits } from "../../../stun/proto/limits.ts";
import { Method, parseMessage, type StunMessage } from "../../../stun/proto/message.ts";
import { PeerPolicy, parseRange } from "../../../stun/proto/peer-policy.ts";
import { TurnServer } from "../../../stun/proto/turn-server.ts";
import { errorCode, type Fill, request, type Signature, signed, udpTransport } from "./requests.ts";

/** A server without sockets in virtual time, and clients that talk to it. */

export const REALM = "example.org";
export const SECRET = "a secret that both sides know";
export const ALICE = { name: "alice", password: "wonderland" };
export const BOB = { name: "bob", password: "builder" };
export const START = 1_700_000_000_000;
/** Where relay sockets lie, as peers see them. */
export const RELAY_4 = "9.9.9.9";
export const RELAY_6 = "2620:fe::9";
export const PEER: Endpoint = { address: "8.8.8.8", port: 5_000 };
export const PEER_6: Endpoint = { address: "2001:4860:4860::8888", port: 5_000 };

export interface LabPath extends ClientPath {
  readonly name: string;
}

/** A packet that left. */
export type Sent =
  | {
      readonly to: "client";
      readonly path: string;
      readonly bytes: Uint8Array;
      readonly address: string;
      readonly port: number;
      readonly via: number;
    }
  | {
      readonly to: "peer";
      readonly relay: number;
      readonly bytes: Uint8Array;
      readonly address: string;
      readonly port: number;
    };

export interface LabOptions {
  readonly limits?: Partial<TurnLimits>;
  readonly credentials?: Credentials;
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  readonly own?: readonly string[];
  readonly families?: readonly Family[];
  readonly canForbidFragments?: boolean;
  /** Families whose sockets cannot be opened. */
  readonly broken?: readonly Family[];
  /** Leaves `open-relays` to the test. */
  readonly holdsOpening?: boolean;
}

export class Lab {
  now = START;
  readonly server: TurnServer<LabPath, number>;
  readonly sent: Sent[] = [];
  readonly outputs: TurnOutput<number>[] = [];
  readonly open = new Set<number>();
  readonly udp: LabPath = { name: "udp", transport: "udp" };
  readonly #options: LabOptions;
  #lastRelay = 0;

  constructor(options: LabOptions = {}) {
    this.#options = options;
    const ranges = (texts: readonly string[] = []) => texts.flatMap((text) => parseRange(text) ?? []);
    const { families = [4, 6], credentials = { users: [ALICE, BOB], secrets: [] } } = options;
    this.server = new TurnServer<LabPath, number>(
      {
        realm: REALM,
        credentials,
        random: new SeededRandom(7),
        policy: new PeerPolicy(
          ranges(options.allow),
          ranges(options.deny),
          options.own ?? [RELAY_4, RELAY_6, "1.2.3.4"],
        ),
        families,
        relayAddresses: [RELAY_4, RELAY_6],
        canForbidFragments: options.canForbidFragments ?? true,
        ...(options.limits && { limits: options.limits }),
      },
      {
        packet: (length) => new Uint8Array(length).fill(0xee),
        toClient: ({ name }, bytes, address, port, via) =>
          void this.sent.push({ to: "client", path: name, bytes, address, port, via }),
        toPeer: (relay, bytes, offset, length, address, port) =>
          void this.sent.push({ to: "peer", relay, bytes: bytes.slice(offset, offset + length), address, port }),
      },
      START,
    );
  }

  /** Delivers a packet of a client, and opens what the server wants opened. */
  packet(bytes: Uint8Array, from: Endpoint, path = this.udp): void {
    this.#take(this.server.packet(path, bytes, from.address, from.port, this.now));
  }

  /** Delivers a datagram of a peer. */
  peerPacket(relay: number, bytes: Uint8Array, from: Endpoint): void {
    this.server.handle({ type: "peer-packet", relay, bytes, address: from.address, port: from.port }, this.now);
  }

  /** Lets time pass, waking the server whenever it wants to be. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (let at = this.server.deadline(); at !== undefined && at <= end; at = this.server.deadline()) {
      this.now = Math.max(this.now, at);
      this.#take(this.server.handle({ type: "timeout" }, this.now));
    }
    this.now = end;
  }

  disconnect(path: LabPath): void {
    this.#take(this.server.handle({ type: "disconnected", path }, this.now));
  }

  /** Opens the sockets that an output asks for. */
  opening({ request: number, families, wish }: Extract<TurnOutput<number>, { type: "open-relays" }>): void {
    const relays = families
      .filter((family) => !this.#options.broken?.includes(family))
      .map((family) => this.#relay(family));
    const reserved = wish === "even-and-next" && relays.length > 0 ? this.#relay(4) : undefined;
    const input = { type: "relays-opened", request: number, relays, ...(reserved && { reserved }) } as const;
    this.#take(this.server.handle(input, this.now));
  }

  /** What was sent since the last call. */
  drain(): Sent[] {
    return this.sent.splice(0);
  }

  /** The only message that was sent since the last call. */
  answer(): StunMessage {
    const [one, ...others] = this.drain();
    const message = one && parseMessage(one.bytes);
    if (message === undefined || others.length > 0) throw new Error(`${others.length + 1} packets, or no message`);
    return message;
  }

  #relay(family: Family) {
    const relay = ++this.#lastRelay;
    this.open.add(relay);
    return { relay, family, endpoint: { address: family === 4 ? RELAY_4 : RELAY_6, port: 50_000 + relay } };
  }

  #take(outputs: readonly TurnOutput<number>[]): void {
    for (const output of outputs) {
      this.outputs.push(output);
      if (output.type === "close-relay") this.open.delete(output.relay);
      else if (output.type === "open-relays" && !this.#options.holdsOpening) this.opening(output);
    }
  }
}

/** One client of a lab. */
export class LabClient {
  readonly lab: Lab;
  readonly at: Endpoint;
  readonly path: LabPath;
  readonly user: { readonly name: string; readonly password: string };
  #nonce: Uint8Array | undefined;

  constructor(lab: Lab, port = 1_000, user = ALICE, path = lab.udp, address = "5.5.5.5") {
    this.lab = lab;
    this.at = { address, port };
    this.user = user;
    this.path = path;
  }

  /** The signature with a nonce that the server gave. */
  signature(): Signature {
    if (this.#nonce === undefined) {
      this.send(request(Method.allocate, udpTransport));
      this.#nonce = this.lab.answer().value(Attribute.nonce) ?? new Uint8Array();
    }
    const { name, password } = this.user;
    const integrity = { kind: "sha1", key: longTermKey(name, REALM, password, "md5") } as const;
    return { username: name, realm: REALM, nonce: this.#nonce, integrity };
  }

  forgetNonce(): void {
    this.#nonce = undefined;
  }

  send(bytes: Uint8Array): void {
    this.lab.packet(bytes, this.at, this.path);
  }

  /** Sends a signed request and returns its answer. */
  ask(method: number, fill?: Fill, transaction?: number): StunMessage {
    this.send(signed(method, this.signature(), fill, transaction));
    return this.lab.answer();
  }

  /** The error code of a signed request's answer; undefined when it succeeds. */
  code(method: number, fill?: Fill, transaction?: number): number | undefined {
    return errorCode(this.ask(method, fill, transaction));
  }

  allocate(fill: Fill = () => {}, transaction?: number): StunMessage {
    return this.ask(
      Method.allocate,
      (writer) => {
        udpTransport(writer);
        fill(writer);
      },
      transaction,
    );
  }
}
