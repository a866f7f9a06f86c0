import { type AddressInfo, isIP, isIPv4, isIPv6 } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import ipaddr from "ipaddr.js";

/**
 * What a remote address is counted under: IPv4 (also when it comes in IPv6's clothes) as it is, IPv6 by its /64, since
 * one host may use all of that.
 */
export function sourceOf(address: string | undefined): string {
  if (address === undefined) return "unknown";
  if (isIPv4(address)) return address;
  if (isIP(address) === 0) return "unknown";
  const parsed = ipaddr.process(address.replace(/%.*$/, ""));
  if (parsed.kind() === "ipv4") return parsed.toString();
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/64`).toString()}/64`;
}

/** The names under which agents reach a server that nobody has named. */
export function ownNames({ address, port }: AddressInfo): readonly string[] {
  const everywhere = address === "::" || address === "0.0.0.0";
  const addresses = everywhere
    ? Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map((entry) => entry.address))
    : [address];
  const hosts = addresses.map((host) => (isIPv6(host) ? `[${host}]` : host));
  if (addresses.some((host) => host === "::1" || host.startsWith("127."))) hosts.push("localhost");
  if (everywhere) hosts.push(hostname().toLowerCase());
  const bare = port === 80 || port === 443;
  return hosts.flatMap((host) => (bare ? [`${host}:${port}`, host] : [`${host}:${port}`]));
}
