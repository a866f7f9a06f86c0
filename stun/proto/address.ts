/**
 * IP addresses as bytes and as text, without a system call.
 *
 * Sockets name addresses in the text form of `inet_ntop`, STUN carries bytes, and permissions are looked up by text for every
 * relayed packet. So the text made here is, character for character, the one that sockets report; everything else that a
 * person may write is parsed and made canonical first. Zones (`fe80::1%eth0`) are no part of an address on the wire: they
 * are cut off.
 */

/** IPv4 or IPv6. */
export type Family = 4 | 6;

/** A transport address. `address` is canonical text (see {@link addressText}). */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** The 4 or 16 bytes of an address in text; undefined when it is none. Never throws. */
export function addressBytes(text: string): Uint8Array | undefined {
  return text.includes(":") ? ipv6Bytes(text) : ipv4Bytes(text, 0);
}

/** The family of canonical text. */
export function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

/** The canonical text of the address whose 4 or 16 bytes begin at `offset`. */
export function addressText(bytes: Uint8Array, offset: number, family: Family): string {
  return family === 4 ? ipv4Text(bytes, offset) : ipv6Text(bytes, offset);
}

/** Any text form of an address in its canonical form; undefined when it is none. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressBytes(text);
  return bytes === undefined ? undefined : addressText(bytes, 0, bytes.length === 4 ? 4 : 6);
}

/** `address:port`, IPv6 in brackets. */
export function endpointText({ address, port }: Endpoint): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function ipv4Text(bytes: Uint8Array, offset: number): string {
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/** Strictly four decimal numbers: no octal, no missing part, no leading zero. */
function ipv4Bytes(text: string, from: number): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let part = 0;
  let value = -1;
  for (let index = from; index <= text.length; index++) {
    const code = index === text.length ? DOT : text.charCodeAt(index);
    if (code === DOT) {
      if (value < 0 || value > 255 || part === 4) return undefined;
      bytes[part++] = value;
      value = -1;
    } else if (code >= ZERO && code <= NINE) {
      if (value === 0 || value > 255) return undefined;
      value = (value < 0 ? 0 : value * 10) + code - ZERO;
    } else return undefined;
  }
  return part === 4 ? bytes : undefined;
}

const DOT = 46;
const ZERO = 48;
const NINE = 57;

function ipv6Bytes(whole: string): Uint8Array | undefined {
  const zone = whole.indexOf("%");
  let text = zone < 0 ? whole : whole.slice(0, zone);
  if (text.length > 45) return undefined;
  const bytes = new Uint8Array(16);
  let tail = 16;
  if (text.includes(".")) {
    const colon = text.lastIndexOf(":");
    const embedded = ipv4Bytes(text, colon + 1);
    if (embedded === undefined) return undefined;
    bytes.set(embedded, 12);
    tail = 12;
    // What is left keeps a colon at its end only where that colon belongs to a "::".
    text = text[colon - 1] === ":" ? text.slice(0, colon + 1) : text.slice(0, colon);
  }
  const gap = text.indexOf("::");
  if (gap >= 0 && text.indexOf("::", gap + 1) >= 0) return undefined;
  const head = groupsOf(gap < 0 ? text : text.slice(0, gap));
  const rest = gap < 0 ? [] : groupsOf(text.slice(gap + 2));
  if (head === undefined || rest === undefined) return undefined;
  const length = (head.length + rest.length) * 2;
  if (gap < 0 ? length !== tail : length > tail - 2) return undefined;
  write(head, bytes, 0);
  write(rest, bytes, tail - rest.length * 2);
  return bytes;
}

function groupsOf(text: string): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  for (const part of text.split(":")) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    groups.push(Number.parseInt(part, 16));
  }
  return groups;
}

function write(groups: readonly number[], bytes: Uint8Array, offset: number): void {
  let at = offset;
  for (const group of groups) {
    bytes[at++] = group >> 8;
    bytes[at++] = group & 0xff;
  }
}

/** As `inet_ntop` writes it: the longest run of two or more zero groups is cut, embedded IPv4 shown where that is usual. */
function ipv6Text(bytes: Uint8Array, offset: number): string {
  let bestStart = -1;
  let bestLength = 1;
  for (let index = 0; index < 8; index++) {
    let length = 0;
    while (index + length < 8 && group(bytes, offset, index + length) === 0) length++;
    if (length > bestLength) {
      bestStart = index;
      bestLength = length;
    }
    index += length;
  }
  let text = "";
  for (let index = 0; index < 8; index++) {
    if (index === bestStart) {
      text += "::";
      index += bestLength - 1;
      continue;
    }
    if (index > 0 && !text.endsWith("::")) text += ":";
    if (index === 6 && bestStart === 0 && showsIpv4(bytes, offset, bestLength))
      return text + ipv4Text(bytes, offset + 12);
    text += group(bytes, offset, index).toString(16);
  }
  return text;
}

// ::a.b.c.d (but not ::1 or ::) and ::ffff:a.b.c.d.
function showsIpv4(bytes: Uint8Array, offset: number, zeros: number): boolean {
  return zeros === 6 || (zeros === 5 && group(bytes, offset, 5) === 0xffff);
}

function group(bytes: Uint8Array, offset: number, index: number): number {
  return ((bytes[offset + index * 2] as number) << 8) | (bytes[offset + index * 2 + 1] as number);
}
