import { hex } from "../../src/proto/bytes.ts";
import { type Instant, NOTHING } from "../../src/proto/machine.ts";
import { type Random, randomBytes } from "../../src/proto/random.ts";
import { addressBytes, type Family } from "./address.ts";
import { type AllocateWish, readAllocate } from "./allocate.ts";
import { Allocation } from "./allocation.ts";
import type { Requester } from "./answers.ts";
import { Attribute, bytesOfEndpoint } from "./attributes.ts";
import type { ClientPath, OpenedRelay, TurnOutput } from "./events.ts";
import { HEADER_BYTES, type StunMessage } from "./message.ts";
import type { MessageWriter } from "./message-writer.ts";
import type { RequestParts } from "./requests.ts";

/**
 * How allocations begin (RFC 8656, section 7). The sockets are opened by the driver: between the request and its answer the
 * allocation is there, without an address, and a repeated request is left to the answer that is on its way. Once it stands, a
 * request that repeats its transaction is answered anew with what it has.
 */
export class Births<Path extends ClientPath, Relay> {
  readonly #parts: RequestParts<Path, Relay>;
  readonly #families: ReadonlySet<Family>;
  readonly #canForbidFragments: boolean;
  readonly #random: Random;
  readonly #pending = new Map<number, Pending<Path, Relay>>();
  #lastRequest = 0;

  constructor(parts: RequestParts<Path, Relay>, options: BirthOptions) {
    this.#parts = parts;
    this.#families = options.families;
    this.#canForbidFragments = options.canForbidFragments;
    this.#random = options.random;
  }

  /** An Allocate request. */
  allocate(requester: Requester<Path>, message: StunMessage, user: string, now: Instant): readonly TurnOutput<Relay>[] {
    const { answers, allocations, accounts, limits, counters } = this.#parts;
    const known = allocations.find(requester.path, requester.address, requester.port);
    if (known !== undefined) return this.#repeat(requester, message, known, user, now);
    if (!this.#canForbidFragments && message.find(Attribute.dontFragment) > 0) {
      answers.unknown(requester, [Attribute.dontFragment], now);
      return NOTHING;
    }
    const wish = readAllocate(message, limits);
    if (typeof wish === "number") {
      answers.error(requester, wish, now);
      return NOTHING;
    }
    const families = wish.families.filter((family) => this.#families.has(family));
    if (families.length === 0) {
      answers.error(requester, 440, now);
      return NOTHING;
    }
    const lacksToken = wish.token !== undefined && !allocations.isReserved(wish.token, user);
    const isFull =
      this.#pending.size >= limits.pending ||
      (wish.wish === "even-and-next" && allocations.reservations >= limits.reservations);
    const account = lacksToken || isFull ? "server" : accounts.open(user, now);
    if (typeof account === "string") {
      if (account === "user") counters.quotaReached++;
      else counters.capacityReached++;
      answers.error(requester, account === "user" ? 486 : 508, now);
      return NOTHING;
    }
    const allocation = new Allocation<Path, Relay>({
      path: requester.path,
      client: { address: requester.address, port: requester.port },
      account,
      transaction: message.bytes.slice(8, HEADER_BYTES),
      startedAt: now,
      token: wish.wish === "even-and-next" ? randomBytes(this.#random, TOKEN_BYTES) : undefined,
      lacksIpv6: wish.isDual && !families.includes(6),
    });
    allocations.add(allocation);
    const pending = { requester: { ...requester, header: message.bytes.slice(0, HEADER_BYTES) }, allocation, wish };
    return this.#open(pending, families, now);
  }

  /** The driver has opened relay sockets, or could not. */
  opened(
    request: number,
    relays: readonly OpenedRelay<Relay>[],
    reserved: OpenedRelay<Relay> | undefined,
    now: Instant,
  ): readonly TurnOutput<Relay>[] {
    const pending = this.#pending.get(request);
    this.#pending.delete(request);
    const { answers, allocations, accounts, counters } = this.#parts;
    const all = reserved === undefined ? relays : [...relays, reserved];
    // Its connection has ended in the meantime.
    if (pending === undefined) return all.map(({ relay }) => ({ type: "close-relay", relay }));
    const { requester, allocation, wish } = pending;
    const isComplete =
      relays[0]?.family === wish.families[0] && (allocation.token !== undefined) === (reserved !== undefined);
    if (!isComplete) {
      allocations.forget(allocation);
      accounts.close(allocation.account);
      counters.capacityReached++;
      answers.error(requester, 508, now);
      return all.map(({ relay }) => ({ type: "close-relay", relay }));
    }
    return this.#born(pending, relays, reserved, now);
  }

  /** Gives up what waits for its sockets on a path that has ended. */
  abandon(path: Path): void {
    for (const [request, { allocation }] of this.#pending) {
      if (allocation.path !== path) continue;
      this.#pending.delete(request);
      this.#parts.allocations.forget(allocation);
      this.#parts.accounts.close(allocation.account);
    }
  }

  #open(pending: Pending<Path, Relay>, families: readonly Family[], now: Instant): readonly TurnOutput<Relay>[] {
    const { token, wish } = pending.wish;
    const claimed = token && this.#parts.allocations.claim(token, pending.allocation.account.user);
    if (claimed !== undefined) return this.#born(pending, [claimed], undefined, now);
    const request = ++this.#lastRequest;
    this.#pending.set(request, pending);
    return [{ type: "open-relays", request, families, wish }];
  }

  #born(
    { requester, allocation, wish }: Pending<Path, Relay>,
    relays: readonly OpenedRelay<Relay>[],
    reserved: OpenedRelay<Relay> | undefined,
    now: Instant,
  ): readonly TurnOutput<Relay>[] {
    const { allocations, limits, counters } = this.#parts;
    for (const opened of relays) allocations.relay(allocation, opened, now + wish.lifetimeMs);
    if (reserved !== undefined && allocation.token !== undefined) {
      const expiresAt = now + limits.reservationMs;
      const { user } = allocation.account;
      allocations.reserve({ token: hex(allocation.token), user, opened: reserved, expiresAt });
    }
    counters.allocations++;
    this.#answer(requester, allocation, wish.isDual, now);
    return [{ type: "allocation-started", allocation: allocation.facts() }];
  }

  #repeat(
    requester: Requester<Path>,
    message: StunMessage,
    allocation: Allocation<Path, Relay>,
    user: string,
    now: Instant,
  ): readonly TurnOutput<Relay>[] {
    const isSame = message.hasTransaction(allocation.transaction, 0) && allocation.account.user === user;
    if (!isSame) this.#parts.answers.error(requester, 437, now);
    else if (allocation.relayed.length > 0) {
      this.#answer(requester, allocation, message.find(Attribute.additionalAddressFamily) > 0, now);
    }
    return NOTHING;
  }

  #answer(requester: Requester<Path>, allocation: Allocation<Path, Relay>, isDual: boolean, now: Instant): void {
    const { answers } = this.#parts;
    const writer: MessageWriter = answers.success(requester);
    let expiresAt = now;
    for (const relayed of allocation.relayed) {
      expiresAt = relayed.expiresAt;
      writer.xorAddress(Attribute.xorRelayedAddress, bytesOfEndpoint(relayed.endpoint), relayed.endpoint.port);
    }
    if (isDual && allocation.ofFamily(6) === undefined)
      writer.bytes(Attribute.addressErrorCode, allocation.lacksIpv6 ? IPV6_UNSUPPORTED : IPV6_UNAVAILABLE);
    writer.u32(Attribute.lifetime, Math.max(0, Math.floor((expiresAt - now) / 1_000)));
    if (allocation.token !== undefined) writer.bytes(Attribute.reservationToken, allocation.token);
    const mapped = addressBytes(requester.address);
    if (mapped !== undefined) writer.xorAddress(Attribute.xorMappedAddress, mapped, requester.port);
    answers.send(requester, writer, now);
  }
}

export interface BirthOptions {
  /** Families that the server has a relay address of. */
  readonly families: ReadonlySet<Family>;
  /** The driver's system sends packets up to the size of a frame uncut. */
  readonly canForbidFragments: boolean;
  /** For reservation tokens: must be the system's CSPRNG. */
  readonly random: Random;
}

/** An allocation that waits for its sockets. */
interface Pending<Path extends ClientPath, Relay> {
  readonly requester: Requester<Path>;
  readonly allocation: Allocation<Path, Relay>;
  readonly wish: AllocateWish;
}

const TOKEN_BYTES = 8;

/** ADDRESS-ERROR-CODE for IPv6: 440 where the server has none, 508 where a socket could not be opened. */
const IPV6_UNSUPPORTED = Uint8Array.of(2, 0, 4, 40);
const IPV6_UNAVAILABLE = Uint8Array.of(2, 0, 5, 8);
