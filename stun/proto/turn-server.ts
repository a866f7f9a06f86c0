import { assert } from "../../src/proto/assert.ts";
import { utf8 } from "../../src/proto/bytes.ts";
import { zeroCounters } from "../../src/proto/counters.ts";
import { type Instant, type Machine, NOTHING } from "../../src/proto/machine.ts";
import { type Random, randomBytes } from "../../src/proto/random.ts";
import { Accounts } from "./accounts.ts";
import type { Family } from "./address.ts";
import { Allocations } from "./allocations.ts";
import { Answers, type Requester } from "./answers.ts";
import { Attribute } from "./attributes.ts";
import { Authenticator } from "./authentication.ts";
import { Binding } from "./binding.ts";
import { Births } from "./births.ts";
import { isChannelData } from "./channel-data.ts";
import { COUNTERS, type Counters } from "./counters.ts";
import type { Credentials } from "./credentials.ts";
import type { ClientPath, EndReason, PacketSink, TurnInput, TurnOutput } from "./events.ts";
import { defaultTurnLimits, type TurnLimits, wireLimits } from "./limits.ts";
import { MessageClass, Method, parseMessage, type StunMessage } from "./message.ts";
import type { PeerPolicy } from "./peer-policy.ts";
import { Relaying } from "./relaying.ts";
import { Requests } from "./requests.ts";

/**
 * A STUN and TURN server without a socket (RFC 8489, RFC 8656, RFC 5780).
 *
 * It is told each packet and answers by sending packets into its sink; see `events.ts` for why that is a call and not an output. What
 * it decides: who may allocate, which peers may be reached, what is relayed and when everything ends. What it leaves to its driver:
 * sockets, ports, streams and TLS. What it trusts: that the driver tells the true source of a packet, and nothing that any packet says.
 *
 * Rules that hold throughout: nothing is kept for a client that has not authenticated; responses are never answered; what is
 * malformed is never answered; an address that may be forged gets no more than it sent, but for what `amplification.ts` counts.
 */
export class TurnServer<Path extends ClientPath, Relay> implements Machine<TurnInput<Path, Relay>, TurnOutput<Relay>> {
  /** Live numbers: read them, do not write. */
  readonly counters: Counters = zeroCounters(COUNTERS);
  readonly limits: TurnLimits;
  readonly #allocations = new Allocations<Path, Relay>();
  readonly #accounts: Accounts;
  readonly #authenticator: Authenticator;
  readonly #answers: Answers<Path, Relay>;
  readonly #binding: Binding<Path, Relay>;
  readonly #births: Births<Path, Relay>;
  readonly #requests: Requests<Path, Relay>;
  readonly #relaying: Relaying<Path, Relay>;

  constructor(options: TurnServerOptions, sink: PacketSink<Path, Relay>, now: Instant) {
    const { realm, credentials, random, policy, families, relayAddresses, canForbidFragments } = options;
    assert(utf8(realm).length <= wireLimits.realmBytes, "a realm has at most 128 bytes");
    const limits = { ...defaultTurnLimits, ...options.limits };
    this.limits = limits;
    this.#accounts = new Accounts(limits, now);
    this.#authenticator = new Authenticator({
      credentials,
      realm,
      nonceKey: randomBytes(random, NONCE_KEY_BYTES),
      nonceLifetimeMs: limits.nonceLifetimeMs,
      keys: limits.keys,
    });
    const { counters } = this;
    this.#answers = new Answers(sink, this.#authenticator, limits, counters);
    const [allocations, accounts, answers] = [this.#allocations, this.#accounts, this.#answers];
    const parts = { allocations, accounts, answers, policy, relayAddresses: new Set(relayAddresses), limits, counters };
    this.#binding = new Binding(sink, answers, counters);
    this.#births = new Births(parts, { families: new Set(families), canForbidFragments, random });
    this.#requests = new Requests(parts);
    this.#relaying = new Relaying(allocations, accounts, sink, counters, random);
  }

  /** Allocations, those that wait for their sockets included. */
  get allocations(): number {
    return this.#accounts.allocations;
  }

  handle(input: TurnInput<Path, Relay>, now: Instant): readonly TurnOutput<Relay>[] {
    switch (input.type) {
      case "packet":
        return this.packet(input.path, input.bytes, input.address, input.port, now);
      case "peer-packet":
        this.peerPacket(input.relay, input.bytes, input.address, input.port, now);
        return NOTHING;
      case "relays-opened":
        return this.#births.opened(input.request, input.relays, input.reserved, now);
      case "credentials":
        this.#authenticator.replace(input.credentials);
        return NOTHING;
      case "disconnected":
        return this.#disconnected(input.path, now);
      case "timeout":
        return this.#expire(now);
    }
  }

  deadline(): Instant | undefined {
    return this.#allocations.deadline();
  }

  /** A packet from a client. The outputs of a relayed packet are always the shared empty list. */
  packet(path: Path, bytes: Uint8Array, address: string, port: number, now: Instant): readonly TurnOutput<Relay>[] {
    const first = bytes[0] ?? BAD_FIRST_BYTE;
    if (isChannelData(first)) {
      this.#relaying.channelData(path, bytes, address, port, now);
      return NOTHING;
    }
    const message = first < 0x40 ? parseMessage(bytes) : undefined;
    if (message === undefined) this.counters.malformed++;
    else if (message.cls === MessageClass.request) return this.#request(path, message, address, port, now);
    else if (message.cls === MessageClass.indication && message.method === Method.send)
      this.#relaying.sendIndication(path, message, address, port, now);
    else this.counters.ignored++;
    return NOTHING;
  }

  /** A datagram at a relay socket. */
  peerPacket(relay: Relay, bytes: Uint8Array, address: string, port: number, now: Instant): void {
    const relayed = this.#allocations.ofRelay(relay);
    // A reserved port belongs to nobody yet.
    if (relayed === undefined) this.counters.packetsWithoutPermission++;
    else this.#relaying.fromPeer(relayed, bytes, address, port, now);
  }

  /** Whether a client has an allocation. */
  hasAllocation(path: Path, address: string, port: number): boolean {
    return this.#allocations.find(path, address, port) !== undefined;
  }

  /** Ends everything; nothing may follow. */
  close(now: Instant): readonly TurnOutput<Relay>[] {
    const outputs: TurnOutput<Relay>[] = [];
    for (const relay of this.#allocations.relays()) {
      const relayed = this.#allocations.ofRelay(relay);
      if (relayed !== undefined) this.#requests.end(relayed, "closed", now, outputs);
      else {
        this.#allocations.unreserve(relay);
        outputs.push({ type: "close-relay", relay });
      }
    }
    return outputs;
  }

  #request(
    path: Path,
    message: StunMessage,
    address: string,
    port: number,
    now: Instant,
  ): readonly TurnOutput<Relay>[] {
    if (message.method === Method.binding) {
      this.#binding.answer(message, path, address, port, now);
      return NOTHING;
    }
    if (!TURN_METHODS.has(message.method) || message.bytes.length > wireLimits.requestBytes) {
      this.counters.ignored++;
      return NOTHING;
    }
    const verdict = this.#authenticator.check(message, address, now);
    const isVerified = path.transport !== "udp" || verdict.type === "authentic" || verdict.verified;
    const requester: Requester<Path> = {
      path,
      address,
      port,
      header: message.bytes,
      method: message.method,
      requestBytes: message.bytes.length,
      hasFingerprint: message.hasFingerprint,
      isVerified,
      integrity: verdict.type === "authentic" ? verdict.integrity : undefined,
    };
    if (verdict.type === "authentic") return this.#authentic(requester, message, verdict.user, now);
    if (!verdict.challenge) this.#answers.error(requester, verdict.code, now);
    else {
      if (verdict.verified) this.counters.unauthenticated++;
      else this.counters.challenges++;
      this.#answers.challenge(requester, verdict.code, now);
    }
    return NOTHING;
  }

  #authentic(
    requester: Requester<Path>,
    message: StunMessage,
    user: string,
    now: Instant,
  ): readonly TurnOutput<Relay>[] {
    const unknown = message.unknown(KNOWN_TO_TURN);
    if (unknown.length > 0) {
      this.#answers.unknown(requester, unknown, now);
      return NOTHING;
    }
    if (message.method === Method.allocate) return this.#births.allocate(requester, message, user, now);
    const allocation = this.#allocations.find(requester.path, requester.address, requester.port);
    if (allocation === undefined || allocation.relayed.length === 0) {
      this.#answers.error(requester, 437, now);
      return NOTHING;
    }
    if (allocation.account.user !== user) {
      this.#answers.error(requester, 441, now);
      return NOTHING;
    }
    if (message.method === Method.refresh) return this.#requests.refresh(requester, message, allocation, now);
    if (message.method === Method.createPermission)
      this.#requests.createPermission(requester, message, allocation, now);
    else this.#requests.channelBind(requester, message, allocation, now);
    return NOTHING;
  }

  #disconnected(path: Path, now: Instant): readonly TurnOutput<Relay>[] {
    this.#births.abandon(path);
    const outputs: TurnOutput<Relay>[] = [];
    for (const allocation of this.#allocations.ofPath(path))
      this.#endAll(allocation.relayed, "disconnected", now, outputs);
    return outputs;
  }

  #endAll(
    relayed: Parameters<Requests<Path, Relay>["end"]>[0][],
    reason: EndReason,
    now: Instant,
    outputs: TurnOutput<Relay>[],
  ): void {
    for (const one of [...relayed]) this.#requests.end(one, reason, now, outputs);
  }

  #expire(now: Instant): readonly TurnOutput<Relay>[] {
    const outputs: TurnOutput<Relay>[] = [];
    for (let count = 0; count < ENDS_AT_ONCE; count++) {
      const mortal = this.#allocations.due(now);
      if (mortal === undefined) break;
      if (mortal.type === "relayed") this.#requests.end(mortal.relayed, "expired", now, outputs);
      else outputs.push({ type: "close-relay", relay: mortal.reservation.opened.relay });
    }
    return outputs;
  }
}

export interface TurnServerOptions {
  /** The realm of the credentials, at most 128 bytes of UTF-8. */
  readonly realm: string;
  readonly credentials: Credentials;
  /** For nonces, tokens and transaction ids: must be the system's CSPRNG. */
  readonly random: Random;
  readonly policy: PeerPolicy;
  /** Families that relay sockets can be opened in. */
  readonly families: readonly Family[];
  /** The addresses that clients are told as theirs: of the relay sockets, or where a NAT shows them. */
  readonly relayAddresses: readonly string[];
  /** See DONT-FRAGMENT in `relaying.ts`. */
  readonly canForbidFragments: boolean;
  readonly limits?: Partial<TurnLimits>;
}

const NONCE_KEY_BYTES = 32;

/** A packet without a first byte is malformed like one that begins so. */
const BAD_FIRST_BYTE = 0xff;

/** Allocations ended by one time-out: closing a socket takes about 20 µs, and nothing may stand still for long. */
const ENDS_AT_ONCE = 512;

const TURN_METHODS: ReadonlySet<number> = new Set([
  Method.allocate,
  Method.refresh,
  Method.createPermission,
  Method.channelBind,
]);

const KNOWN_TO_TURN: ReadonlySet<number> = new Set([
  Attribute.username,
  Attribute.userhash,
  Attribute.realm,
  Attribute.nonce,
  Attribute.passwordAlgorithm,
  Attribute.channelNumber,
  Attribute.lifetime,
  Attribute.xorPeerAddress,
  Attribute.requestedAddressFamily,
  Attribute.evenPort,
  Attribute.requestedTransport,
  Attribute.dontFragment,
  Attribute.reservationToken,
]);
