import { StarlingError } from "../errors.ts";
import { RecentMap } from "../proto/bounded.ts";
import { equalBytes } from "../proto/bytes.ts";
import type { Instant } from "../proto/machine.ts";
import { Meter } from "../proto/membership/context.ts";
import type { PeerId } from "../proto/peer-id.ts";
import {
  MAX_RELAY_HOPS,
  MAX_RELAY_REQUESTS,
  RELAY_AVOID_MS,
  RELAY_PATIENCE_MS,
  RELAY_RACERS,
  RELAY_REQUEST_RATE,
  RELAY_TRIES,
} from "../proto/routing/limits.ts";
import {
  CHANNEL_BYTES,
  encodeAnswerBody,
  encodeRelayAnswer,
  encodeRelayRequest,
  encodeRequestBody,
  isFresh,
  type RelayRequest,
  readRelayAnswer,
  readRelayRequest,
  relayStatement,
  type SignedBody,
} from "../proto/routing/relay-request.ts";
import { channelContext, fingerprintOf, SealedChannel } from "../proto/routing/sealed-channel.ts";
import type { Role } from "../proto/session/transcript.ts";
import { Carriage, type CarriedSide, carry } from "./carriage.ts";
import type { PeerLink } from "./peer-link.ts";
import type { MeshStream } from "./stream.ts";
import type { Trust } from "./trust.ts";

/** The protocol of the streams of which relayed channels consist. */
export const RELAY_PROTOCOL = "starling/relay/1";

/** Codes of streams that are refused; below 16, so no application's. */
const REFUSED = { busy: 8, noWay: 9, unwanted: 10 } as const;

/** First hops that are remembered for having failed. */
const MAX_AVOIDED = 256;

/** A relayed channel between this member and another: the ends of its streams, and what seals it. */
export interface Circuit {
  readonly peer: PeerId;
  readonly role: Role;
  /** The member that it leads through first, as seen from here. */
  readonly via: PeerId;
  readonly side: CarriedSide;
  readonly sealed: SealedChannel;
  readonly localFingerprint: Uint8Array;
  readonly remoteFingerprint: Uint8Array;
}

/** What relays need of their agent. */
export interface RelayHost {
  readonly trust: Trust;
  readonly now: () => Instant;
  /** The link to a member that does not itself lead through others. */
  link(peer: PeerId): PeerLink | undefined;
  /** Members with whom such a link stands, the nearest to `peer` first. */
  towards(peer: PeerId): readonly PeerId[];
  isMember(peer: PeerId): boolean;
  /** Somebody has made a channel to us. */
  accepted(circuit: Circuit): void;
  fault(peer: PeerId, fault: string): void;
}

/**
 * Channels between members that have no path to each other, made of streams over the links of others: this member asks for them, answers, and
 * carries those of others. The way is computed as routing computes it; by which of several it goes, a race decides.
 *
 * A forwarder knows by a signature on whose account it carries, within a quota; it sees who speaks with whom and how much, and nothing
 * else (`sealed-channel.ts`). What it can do is what a cable can: be cut. The origin then tries another first hop.
 */
export class Relays {
  readonly #host: RelayHost;
  readonly #carriage: Carriage;
  readonly #requests = new Meter(RELAY_REQUEST_RATE);
  /** Requests that were seen lately, by origin and channel. */
  readonly #seen = new RecentMap<string, true>(MAX_RELAY_REQUESTS);
  /** First hops whose channels ended early, and until when others are better. */
  readonly #avoided = new RecentMap<PeerId, Instant>(MAX_AVOIDED);

  constructor(host: RelayHost) {
    this.#host = host;
    this.#carriage = new Carriage(host.now);
  }

  /** Bytes that were carried for others since the start. */
  get carriedBytes(): number {
    return this.#carriage.bytes;
  }

  /** A channel that led through `hop` first ended before it was of use. */
  avoid(hop: PeerId): void {
    this.#avoided.set(hop, this.#host.now() + RELAY_AVOID_MS);
  }

  /** Makes a channel to `target`; undefined when no member carries one there. */
  async dial(target: PeerId): Promise<Circuit | undefined> {
    const { trust, now } = this.#host;
    const pair = trust.crypto.boxKeyPair();
    const channel = trust.crypto.randomBytes(CHANNEL_BYTES);
    const request = { origin: trust.id, target, channel, key: pair.publicKey, time: Math.floor(now()) };
    const body = encodeRequestBody(request);
    const signed = { body, signature: trust.sign("starling/relay/1", body) };
    const racers = this.#firstHops(target).map((hop) => this.#enter(hop, request, signed));
    let winner: Entered | undefined;
    for (const racer of racers) {
      void racer.then((entered) => {
        if (entered === undefined) return;
        if (winner === undefined) winner = entered;
        else entered.side.stream.reset();
      });
    }
    const first = await Promise.any(racers.map((racer) => racer.then(orThrow))).catch(() => undefined);
    if (first === undefined) return undefined;
    const secret = trust.crypto.agree(first.key, pair.secretKey);
    if (secret === undefined) {
      first.side.stream.reset();
      return undefined;
    }
    const context = channelContext(channel, pair.publicKey, first.key);
    return {
      peer: target,
      role: "dialer",
      via: first.hop,
      side: first.side,
      sealed: new SealedChannel(secret, "dialer", context),
      localFingerprint: fingerprintOf(channel, pair.publicKey),
      remoteFingerprint: fingerprintOf(channel, first.key),
    };
  }

  /** Serves a stream of {@link RELAY_PROTOCOL}: a channel that ends here, or one to hand on. */
  async serve(stream: MeshStream, from: PeerId): Promise<void> {
    if (!this.#requests.admits(from, this.#host.now())) {
      this.#host.fault(from, "relay-flood");
      return stream.reset(REFUSED.busy);
    }
    const side = { stream, messages: stream[Symbol.asyncIterator]() };
    const message = await firstMessage(side);
    const read = message && readRelayRequest(message);
    if (read === undefined) {
      if (message !== undefined) this.#host.fault(from, "relay-malformed");
      return stream.reset();
    }
    const refusal = this.#refusal(read.request, read.signed, from);
    if (refusal !== undefined) return stream.reset(refusal);
    if (read.request.target === this.#host.trust.id) await this.#answer(read.request, side, from);
    else await this.#carry(read.request, read.signed, read.hops, side, from);
  }

  #firstHops(target: PeerId): PeerId[] {
    const now = this.#host.now();
    const isAvoided = (hop: PeerId): number => ((this.#avoided.get(hop) ?? now) > now ? 1 : 0);
    const hops = this.#host.towards(target).filter((hop) => hop !== target);
    return hops.sort((a, b) => isAvoided(a) - isAvoided(b)).slice(0, RELAY_RACERS);
  }

  /** Asks for the channel at one first hop; undefined when nothing comes of it. */
  async #enter(hop: PeerId, request: RelayRequest, signed: SignedBody): Promise<Entered | undefined> {
    const side = await this.#ask(hop, signed, MAX_RELAY_HOPS);
    const message = side && (await firstMessage(side));
    const read = message && readRelayAnswer(message);
    if (side === undefined || read === undefined) {
      side?.stream.reset();
      return undefined;
    }
    const { origin, target, channel, originKey, key } = read.answer;
    const fits =
      origin === request.origin &&
      target === request.target &&
      equalBytes(channel, request.channel) &&
      equalBytes(originKey, request.key);
    if (fits && this.#host.trust.crypto.verify(relayStatement(target, read.signed))) return { hop, side, key };
    this.#host.fault(hop, "relay-forged");
    side.stream.reset();
    return undefined;
  }

  /** Opens a stream to `hop` and hands it the request. */
  async #ask(hop: PeerId, signed: SignedBody, hops: number): Promise<CarriedSide | undefined> {
    try {
      const stream = await this.#host.link(hop)?.open(RELAY_PROTOCOL, "bulk");
      if (stream === undefined) return undefined;
      await stream.send(encodeRelayRequest(signed, hops));
      return { stream, messages: stream[Symbol.asyncIterator]() };
    } catch (error) {
      if (error instanceof StarlingError) return undefined;
      throw error;
    }
  }

  /** Why a request is not taken up, as the code of the reset; each is taken up once. */
  #refusal(request: RelayRequest, signed: SignedBody, from: PeerId): number | undefined {
    const { trust, now } = this.#host;
    const key = `${request.origin} ${request.channel.join()}`;
    if (!isFresh(request, now()) || this.#seen.has(key) || request.origin === trust.id) return REFUSED.unwanted;
    if (!this.#host.isMember(request.origin)) return REFUSED.unwanted;
    if (!trust.crypto.verify(relayStatement(request.origin, signed))) {
      this.#host.fault(from, "relay-forged");
      return REFUSED.unwanted;
    }
    this.#seen.set(key, true);
    return undefined;
  }

  async #answer(request: RelayRequest, side: CarriedSide, from: PeerId): Promise<void> {
    const { trust } = this.#host;
    const { origin, channel } = request;
    const pair = trust.crypto.boxKeyPair();
    const secret = trust.crypto.agree(request.key, pair.secretKey);
    if (secret === undefined) return side.stream.reset(REFUSED.unwanted);
    const body = encodeAnswerBody({ origin, target: trust.id, channel, key: pair.publicKey, originKey: request.key });
    await side.stream.send(encodeRelayAnswer({ body, signature: trust.sign("starling/relay/1", body) }));
    this.#host.accepted({
      peer: origin,
      role: "answerer",
      via: from,
      side,
      sealed: new SealedChannel(secret, "answerer", channelContext(channel, request.key, pair.publicKey)),
      localFingerprint: fingerprintOf(channel, pair.publicKey),
      remoteFingerprint: fingerprintOf(channel, request.key),
    });
  }

  async #carry(
    request: RelayRequest,
    signed: SignedBody,
    hops: number,
    side: CarriedSide,
    from: PeerId,
  ): Promise<void> {
    const account = this.#carriage.take(request.origin);
    if (account === undefined) return side.stream.reset(REFUSED.busy);
    try {
      for (const hop of this.#nextHops(request, hops, from)) {
        const onward = await this.#ask(hop, signed, hops - 1);
        const answer = onward && (await firstMessage(onward));
        if (onward === undefined) continue;
        if (answer === undefined || side.stream.failed) {
          onward.stream.reset();
          continue;
        }
        await side.stream.send(answer);
        return await carry(side, onward, account);
      }
      side.stream.reset(REFUSED.noWay);
    } catch (error) {
      // The end of either stream is how a channel ends.
      if (!(error instanceof StarlingError)) throw error;
    } finally {
      account.close();
    }
  }

  #nextHops({ origin, target }: RelayRequest, hops: number, from: PeerId): readonly PeerId[] {
    if (this.#host.link(target) !== undefined) return [target];
    if (hops <= 1) return [];
    const others = this.#host.towards(target).filter((hop) => hop !== from && hop !== origin);
    return others.slice(0, RELAY_TRIES);
  }
}

/** A way that has been found. */
interface Entered {
  readonly hop: PeerId;
  readonly side: CarriedSide;
  /** The target's key. */
  readonly key: Uint8Array;
}

function orThrow<T>(value: T | undefined): T {
  if (value === undefined) throw new StarlingError("not-found", "no way through this member");
  return value;
}

/** The first message of a stream, if one comes in time. */
async function firstMessage({ stream, messages }: CarriedSide): Promise<Uint8Array | undefined> {
  const patience = setTimeout(() => stream.reset(), RELAY_PATIENCE_MS);
  try {
    const next = await messages.next();
    return next.done ? undefined : next.value;
  } catch (error) {
    if (error instanceof StarlingError) return undefined;
    throw error;
  } finally {
    clearTimeout(patience);
  }
}
