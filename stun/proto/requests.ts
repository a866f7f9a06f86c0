import type { Instant } from "../../src/proto/machine.ts";
import type { Accounts } from "./accounts.ts";
import { addressBytes, type Endpoint } from "./address.ts";
import { familyOfCode, grantedLifetime, readLifetime } from "./allocate.ts";
import type { Allocation, Reach, Relayed } from "./allocation.ts";
import type { Allocations } from "./allocations.ts";
import type { Answers, Requester } from "./answers.ts";
import { Attribute, readXorAddress, type StunErrorCode } from "./attributes.ts";
import { FIRST_CHANNEL, LAST_CHANNEL } from "./channel-data.ts";
import type { Counters } from "./counters.ts";
import type { ClientPath, EndReason, TurnOutput } from "./events.ts";
import type { TurnLimits } from "./limits.ts";
import { type StunMessage, u16 } from "./message.ts";
import type { PeerPolicy } from "./peer-policy.ts";

/**
 * Requests to an allocation that exists: Refresh, CreatePermission and ChannelBind (RFC 8656, sections 8, 10 and 12). Each is
 * checked as a whole before anything changes, so a refused request has no effect. All of them may be repeated.
 */
export class Requests<Path extends ClientPath, Relay> {
  readonly #parts: RequestParts<Path, Relay>;

  constructor(parts: RequestParts<Path, Relay>) {
    this.#parts = parts;
  }

  /** Renews the allocation, or ends it or one family of it where the lifetime asked for is zero. */
  refresh(
    requester: Requester<Path>,
    message: StunMessage,
    allocation: Allocation<Path, Relay>,
    now: Instant,
  ): readonly TurnOutput<Relay>[] {
    const { answers, allocations, limits, counters } = this.#parts;
    const family = message.value(Attribute.requestedAddressFamily);
    const lifetime = readLifetime(message);
    const code = family === undefined ? undefined : family.length === 4 ? familyOfCode(family[0]) : 0;
    if (lifetime === undefined || code === 0) return this.#fail(requester, 400, now);
    const chosen = allocation.relayed.filter((relayed) => family === undefined || relayed.family === code);
    if (chosen.length === 0) return this.#fail(requester, 443, now);
    const lifetimeMs = lifetime === 0 ? 0 : grantedLifetime(lifetime === "absent" ? 0 : lifetime, limits);
    const outputs: TurnOutput<Relay>[] = [];
    for (const relayed of chosen) {
      if (lifetimeMs === 0) this.end(relayed, "released", now, outputs);
      else allocations.renew(relayed, now + lifetimeMs);
    }
    counters.refreshes++;
    answers.send(requester, answers.success(requester).u32(Attribute.lifetime, Math.floor(lifetimeMs / 1_000)), now);
    return outputs;
  }

  /** Installs or renews permissions for all hosts that the request names, or for none. */
  createPermission(
    requester: Requester<Path>,
    message: StunMessage,
    allocation: Allocation<Path, Relay>,
    now: Instant,
  ): void {
    const { answers, limits, counters } = this.#parts;
    const wanted: { readonly address: string; readonly reach: Reach }[] = [];
    for (let at = message.find(Attribute.xorPeerAddress); at > 0; at = message.next(Attribute.xorPeerAddress, at)) {
      const peer = readXorAddress(message.bytes, at, message.length(at));
      const reach = peer === undefined ? 400 : this.#reach(peer, allocation);
      if (peer === undefined || typeof reach === "number") {
        this.#fail(requester, typeof reach === "number" ? reach : 400, now);
        return;
      }
      wanted.push({ address: peer.address, reach });
    }
    const addresses = wanted.map(({ address }) => address);
    if (wanted.length === 0) this.#fail(requester, 400, now);
    else if (!allocation.hasRoomFor(addresses, limits, now)) this.#fail(requester, 508, now);
    else {
      for (const { address, reach } of wanted) allocation.permit(address, reach, now + limits.permissionLifetimeMs);
      counters.permissions++;
      answers.send(requester, answers.success(requester), now);
    }
  }

  /** Binds or renews a channel, and with it the permission for its host. */
  channelBind(
    requester: Requester<Path>,
    message: StunMessage,
    allocation: Allocation<Path, Relay>,
    now: Instant,
  ): void {
    const { answers, limits, counters } = this.#parts;
    const numberAt = message.find(Attribute.channelNumber);
    const peerAt = message.find(Attribute.xorPeerAddress);
    const number = numberAt > 0 && message.length(numberAt) === 4 ? u16(message.bytes, numberAt) : 0;
    const peer = peerAt > 0 ? readXorAddress(message.bytes, peerAt, message.length(peerAt)) : undefined;
    if (peer === undefined || peer.port === 0 || number < FIRST_CHANNEL || number > LAST_CHANNEL) {
      this.#fail(requester, 400, now);
      return;
    }
    const reach = this.#reach(peer, allocation);
    if (typeof reach === "number") this.#fail(requester, reach, now);
    else if (!allocation.canBind(number, peer, now)) this.#fail(requester, 400, now);
    else if (!allocation.hasRoomFor([peer.address], limits, now) || !allocation.hasRoomForChannel(number, limits, now))
      this.#fail(requester, 508, now);
    else {
      const host = allocation.permit(peer.address, reach, now + limits.permissionLifetimeMs);
      allocation.bind(number, host, peer.port, now + limits.channelLifetimeMs);
      counters.channels++;
      answers.send(requester, answers.success(requester), now);
    }
  }

  /** Takes a relayed address away, and its allocation with the last one. */
  end(relayed: Relayed<Path, Relay>, reason: EndReason, now: Instant, outputs: TurnOutput<Relay>[]): void {
    const { allocations, accounts, counters } = this.#parts;
    const { allocation } = relayed;
    const facts = allocation.facts();
    outputs.push({ type: "close-relay", relay: relayed.relay });
    if (!allocations.remove(relayed)) return;
    accounts.close(allocation.account);
    counters.allocationsEnded++;
    const { bytesToPeers, bytesToClient } = allocation;
    const lifeMs = now - allocation.startedAt;
    outputs.push({ type: "allocation-ended", allocation: facts, reason, lifeMs, bytesToPeers, bytesToClient });
  }

  /** How this allocation may reach a peer; an error code when it may not. */
  #reach(peer: Endpoint, allocation: Allocation<Path, Relay>): Reach | StunErrorCode {
    const { policy, relayAddresses, allocations, counters } = this.#parts;
    const bytes = addressBytes(peer.address);
    if (bytes === undefined) return 400;
    if (allocation.ofFamily(bytes.length === 4 ? 4 : 6) === undefined) return 443;
    const isAllowed = policy.allows(bytes);
    const isRelay = relayAddresses.has(peer.address);
    if (isAllowed) return isRelay ? "both" : "network";
    if (isRelay && allocations.at(peer.address, peer.port) !== undefined) return "inside";
    counters.peersForbidden++;
    return 403;
  }

  #fail(requester: Requester<Path>, code: StunErrorCode, now: Instant): readonly [] {
    this.#parts.answers.error(requester, code, now);
    return [];
  }
}

/** What requests work on. */
export interface RequestParts<Path extends ClientPath, Relay> {
  readonly allocations: Allocations<Path, Relay>;
  readonly accounts: Accounts;
  readonly answers: Answers<Path, Relay>;
  readonly policy: PeerPolicy;
  /** Addresses at which this server's relayed addresses lie, in canonical text. */
  readonly relayAddresses: ReadonlySet<string>;
  readonly limits: TurnLimits;
  readonly counters: Counters;
}
