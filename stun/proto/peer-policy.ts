import { addressBytes, addressText } from "./address.ts";

/**
 * Which peers a relay may reach.
 *
 * A relay sits inside a network and sends for strangers, so what it may reach is what they may attack: the host's own services,
 * its private network, a cloud's metadata service. Everything that is not a global unicast address is refused, and so is every
 * address of the server itself. Whoever runs the server can allow a range by name; what he denies by name is refused even so.
 *
 * IPv6 has many ways to write an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo, ISATAP). An allowed range of
 * such addresses reaches only those whose IPv4 address is allowed on its own account: `--allow-peer ::/0` does not open
 * `::ffff:127.0.0.1`.
 *
 * The judgement is on bytes, so no way of writing an address escapes it.
 */
export class PeerPolicy {
  readonly #allowed: readonly Range[];
  readonly #denied: readonly Range[];
  #own: ReadonlySet<string>;

  /**
   * @param allowed ranges that are reachable although they are refused by default.
   * @param denied ranges that are refused in any case.
   * @param own addresses of the server's host, in canonical text.
   */
  constructor(allowed: readonly Range[], denied: readonly Range[], own: Iterable<string>) {
    this.#allowed = allowed;
    this.#denied = denied;
    this.#own = new Set(own);
  }

  /** The host has other addresses than before. */
  owns(own: Iterable<string>): void {
    this.#own = new Set(own);
  }

  /** Whether the address with these 4 or 16 bytes may be a peer. */
  allows(address: Uint8Array): boolean {
    const embedded = address.length === 16 ? embeddedIpv4(address) : undefined;
    if (embedded !== undefined && !this.allows(embedded)) return false;
    if (this.#denied.some((range) => contains(range, address))) return false;
    if (this.#allowed.some((range) => contains(range, address))) return true;
    if (this.#own.has(addressText(address, 0, address.length === 4 ? 4 : 6))) return false;
    return embedded === undefined && isGlobalUnicast(address);
  }
}

/** A block of addresses of one family. */
export interface Range {
  readonly bytes: Uint8Array;
  /** How many leading bits count. */
  readonly bits: number;
}

/** Reads `address/bits` or a single address; undefined when it is neither, or has bits behind the prefix. */
export function parseRange(text: string): Range | undefined {
  const slash = text.indexOf("/");
  const bytes = addressBytes(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const most = bytes.length * 8;
  if (slash < 0) return { bytes, bits: most };
  const digits = text.slice(slash + 1);
  const bits = Number(digits);
  if (!/^\d{1,3}$/.test(digits) || bits > most) return undefined;
  for (let bit = bits; bit < most; bit++) {
    if (((bytes[bit >> 3] as number) >> (7 - (bit & 7))) & 1) return undefined;
  }
  return { bytes, bits };
}

function contains(range: Range, address: Uint8Array): boolean {
  if (range.bytes.length !== address.length) return false;
  const whole = range.bits >> 3;
  for (let index = 0; index < whole; index++) if (range.bytes[index] !== address[index]) return false;
  const rest = range.bits & 7;
  return rest === 0 || (((range.bytes[whole] as number) ^ (address[whole] as number)) & (0xff00 >> rest) & 0xff) === 0;
}

function rangesOf(texts: readonly string[]): readonly Range[] {
  return texts.map((text) => parseRange(text)).filter((range) => range !== undefined);
}

/** IPv4 blocks that are not global unicast (RFC 6890 and the registry behind it), and one service that hides among those that are. */
const SPECIAL_IPV4 = rangesOf([
  "0.0.0.0/8", // this network
  "10.0.0.0/8", // private
  "100.64.0.0/10", // carrier-grade NAT
  "127.0.0.0/8", // loopback
  "168.63.129.16/32", // the metadata and DNS service of one cloud's hosts
  "169.254.0.0/16", // link-local, and the metadata service of most clouds
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // 6to4 relays
  "192.168.0.0/16", // private
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, and the broadcast address
]);

/** All global unicast IPv6 there is; loopback, link-local, unique local, multicast, mapped and NAT64 addresses lie outside. */
const GLOBAL_IPV6 = rangesOf(["2000::/3"]);

/** What is special inside it. */
const SPECIAL_IPV6 = rangesOf([
  "2001::/23", // protocol assignments: Teredo, benchmarks, ORCHID
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4
  "3fff::/20", // documentation
]);

function isGlobalUnicast(address: Uint8Array): boolean {
  if (address.length === 4) return !SPECIAL_IPV4.some((range) => contains(range, address));
  return (
    GLOBAL_IPV6.some((range) => contains(range, address)) && !SPECIAL_IPV6.some((range) => contains(range, address))
  );
}

/** Where the IPv4 address stands in addresses of these blocks. */
const EMBEDDINGS = [
  { range: parseRange("::ffff:0:0/96"), at: 12 }, // mapped
  { range: parseRange("::/96"), at: 12 }, // compatible; also ::1 and ::
  { range: parseRange("::ffff:0:0:0/96"), at: 12 }, // translated (SIIT)
  { range: parseRange("64:ff9b::/96"), at: 12 }, // NAT64
  { range: parseRange("64:ff9b:1::/48"), at: 12 }, // NAT64 of a network's own
  { range: parseRange("2002::/16"), at: 2 }, // 6to4
] as const;

const TEREDO = parseRange("2001::/32");

/** The IPv4 address inside an IPv6 address of one of the forms that carry one. */
function embeddedIpv4(address: Uint8Array): Uint8Array | undefined {
  if (isLoopbackIpv6(address)) return undefined;
  for (const { range, at } of EMBEDDINGS) {
    if (range !== undefined && contains(range, address)) return address.subarray(at, at + 4);
  }
  // Teredo hides the client's address by inversion.
  if (TEREDO !== undefined && contains(TEREDO, address)) return address.subarray(12, 16).map((byte) => byte ^ 0xff);
  // ISATAP: an interface identifier of 00-00-5e-fe or 02-00-5e-fe, then the address.
  if (((address[8] as number) & 0xfd) === 0 && address[9] === 0 && address[10] === 0x5e && address[11] === 0xfe)
    return address.subarray(12, 16);
  return undefined;
}

// ::1 lies in the block of compatible addresses; it is allowed or not by its own name.
function isLoopbackIpv6(address: Uint8Array): boolean {
  for (let index = 0; index < 15; index++) if (address[index] !== 0) return false;
  return address[15] === 1;
}
