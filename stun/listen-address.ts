import { networkInterfaces } from "node:os";
import { StarlingError } from "../src/errors.ts";
import { canonicalAddress, type Endpoint, type Family, familyOf } from "./proto/address.ts";

/** The port of STUN and TURN (RFC 8489), and that over TLS. */
export const STUN_PORT = 3_478;
export const STUNS_PORT = 5_349;

/** Reads `address:port` or a bare address, IPv6 in brackets where a port follows; throws `usage`. */
export function parseListenAddress(text: string, defaultPort: number): Endpoint {
  const match = /^(?:\[([^\]]+)\](?::(\d{1,5}))?|([^:[\]]+)(?::(\d{1,5}))?|([0-9a-fA-F:.]+))$/.exec(text);
  const address = canonicalAddress(match?.[1] ?? match?.[3] ?? match?.[5] ?? "");
  const port = Number(match?.[2] ?? match?.[4] ?? defaultPort);
  if (address === undefined || port > 65_535) {
    throw new StarlingError(
      "usage",
      `${JSON.stringify(text)} is not address:port; write for example 192.0.2.1:${defaultPort} or [2001:db8::1]:${defaultPort}`,
    );
  }
  return { address, port };
}

/**
 * Where to relay from when nobody says: the first address of each family that is listened on; where that is all of them, the
 * host's only address of the family that is not loopback. Throws `usage` when there are several, since a wrong one would relay into
 * a private network.
 */
export function defaultRelayAddresses(listen: readonly Endpoint[]): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const first = listen.find(({ address }) => familyOf(address) === family);
    if (first === undefined) return [];
    if (first.address !== "0.0.0.0" && first.address !== "::") return [first.address];
    const [only, ...others] = outwardAddresses(family);
    if (only === undefined) return [];
    if (others.length === 0) return [only];
    const choices = [only, ...others].join(", ");
    throw new StarlingError("usage", `this host has several addresses (${choices}); choose with --relay-address`);
  });
}

/** Addresses of this host that are neither loopback nor link-local. */
function outwardAddresses(family: Family): string[] {
  return Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ internal }) => !internal)
    .flatMap(({ address }) => canonicalAddress(address) ?? [])
    .filter((address) => familyOf(address) === family && !/^(169\.254\.|fe[89ab])/.test(address));
}
