import { defaultRelayAddresses, parseListenAddress, STUN_PORT } from "../../stun/listen-address.ts";
import { canonicalAddress, endpointText } from "../../stun/proto/address.ts";
import { issueCredential, MAX_SECRETS } from "../../stun/proto/credentials.ts";
import type { StunServer } from "../../stun/server.ts";
import { StarlingError } from "../errors.ts";
import type { RelayOptions } from "../options.ts";
import { base64 } from "../proto/base64.ts";
import type { Instant } from "../proto/machine.ts";
import type { Label } from "../proto/membership/record.ts";
import { encodeRelayGrant, RELAY_LABEL } from "../proto/negotiation/relays.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { type Random, randomBytes } from "../proto/random.ts";
import { mayDo } from "../proto/trust/rights.ts";
import type { MeshStream } from "./stream.ts";

/**
 * A member that relays for the others: a STUN and TURN server inside the agent, whose secret nobody else knows. It gives every member
 * that asks a credential in that member's name, which ends after an hour, so that the server's quotas count by member.
 */

/** The protocol of grants: nothing there, one grant back. */
export const TURN_PROTOCOL = "starling/turn/1";

const REALM = "starling";
/** Long enough that a member asks a few dozen times a day, short enough that who has left soon loses the relay, ms. */
const CREDENTIAL_MS = 3_600_000;
const SECRET_BYTES = 32;
/** Allocations of one member: a dozen links that are made and renewed, twice. */
const ALLOCATIONS_PER_MEMBER = 32;

/** Whether a token with these scopes lets an agent relay. */
export function mayRelay(scopes: readonly string[]): boolean {
  return mayDo(scopes, "relay");
}

/** Why an agent that is to relay does not join. */
export function mayNotRelay(): StarlingError {
  const hint = "this agent's token does not allow relay; invite it with --scope relay beside what else it needs";
  return new StarlingError("permission-denied", hint);
}

/** The relay in this process. */
export interface Relaying extends AsyncDisposable {
  /** `address:port` by which others reach it. */
  readonly address: string;
  readonly server: StunServer;
  /** Credentials are of a new secret from here on; those of the one before count for `graceMs` more, an hour by default and at most: then each has ended. */
  rotate(graceMs?: number): void;
  /** Serves one stream of {@link TURN_PROTOCOL}. */
  serve(stream: MeshStream, from: PeerId): Promise<void>;
}

/** Starts the server. Rejects with `usage` for addresses that cannot be. */
export async function openRelaying(options: RelayOptions, random: Random, now: () => Instant): Promise<Relaying> {
  const listen = parseListenAddress(options.listen ?? `0.0.0.0:${STUN_PORT}`, STUN_PORT);
  const relayAddresses = defaultRelayAddresses([listen]);
  const external = options.publicAddress === undefined ? undefined : canonicalAddress(options.publicAddress);
  if (options.publicAddress !== undefined && external === undefined)
    throw new StarlingError("usage", `${JSON.stringify(options.publicAddress)} is no IP address`);
  const freshSecret = (): string => base64(randomBytes(random, SECRET_BYTES));
  let secrets: readonly string[] = [freshSecret()];
  const { startStunServer } = await import("../../stun/server.ts");
  const server = await startStunServer({
    listen: [listen],
    realm: REALM,
    credentials: { users: [], secrets },
    relayAddresses,
    ...(external !== undefined && { externalAddresses: [external] }),
    ...(options.allowPeers && { allowPeers: options.allowPeers }),
    limits: { allocationsPerUser: options.allocationsPerMember ?? ALLOCATIONS_PER_MEMBER },
    now,
  }).catch((cause: unknown) => {
    const message = `the relay cannot listen on ${endpointText(listen)}: is something else there, or is it no address of this host?`;
    throw new StarlingError("usage", message, { cause });
  });
  const host = external ?? relayAddresses[0] ?? listen.address;
  const address = endpointText({ address: host, port: server.listening[0]?.port ?? listen.port });
  const use = (next: readonly string[]): void => {
    secrets = next;
    server.use({ users: [], secrets });
  };
  const timers = new Set<NodeJS.Timeout>();
  const urls = [`stun:${address}`, `turn:${address}`, `turn:${address}?transport=tcp`];
  return {
    address,
    server,
    rotate(graceMs = CREDENTIAL_MS) {
      const [before] = secrets as readonly [string];
      use([freshSecret(), ...secrets].slice(0, MAX_SECRETS));
      const end = setTimeout(
        () => {
          timers.delete(end);
          use(secrets.filter((secret) => secret !== before));
        },
        Math.min(graceMs, CREDENTIAL_MS),
      ).unref();
      timers.add(end);
    },
    async serve(stream, from) {
      const [secret] = secrets as readonly [string];
      const { username, password: credential, expiresAt } = issueCredential(secret, from, CREDENTIAL_MS, now());
      await stream.send(encodeRelayGrant({ urls, username, credential, expiresAt }));
      stream.end();
    },
    [Symbol.asyncDispose]: () => {
      for (const end of timers) clearTimeout(end);
      return server.close();
    },
  };
}

/** `labels` with the one that says where this member relays, in order. */
export function withRelayLabel(labels: readonly Label[], address: string): readonly Label[] {
  const others = labels.filter(([key]) => key !== RELAY_LABEL);
  return [...others, [RELAY_LABEL, address] as const].sort(([a], [b]) => (a < b ? -1 : 1));
}
