import type { Transport } from "./plan.ts";

/** Addresses of STUN and TURN servers: `stun:`, `turn:` and `turns:` (RFC 7064, RFC 7065). */

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

export interface IceUrl extends ServerAddress {
  readonly kind: "stun" | "turn";
  readonly transport: Transport;
}

/** `unsupported`: well-formed, and neither stack speaks it: STUN over TLS, TURN over DTLS. */
export type IceUrlFault = "malformed" | "port" | "unsupported";

const SHAPE = /^(stuns?|turns?):(?:\[([0-9a-f:.]+)\]|([^\s:?[\]]+))(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/i;

/** Ports where a URL names none. */
const PLAIN_PORT = 3_478;
const TLS_PORT = 5_349;

/** Reads one URL, or says what is wrong with it. */
export function parseIceUrl(url: string): IceUrl | IceUrlFault {
  const [, name, six, four, portText, query] = SHAPE.exec(url.trim()) ?? [];
  const host = six ?? four;
  if (name === undefined || host === undefined) return "malformed";
  const scheme = name.toLowerCase();
  const isSecure = scheme.endsWith("s");
  const port = portText === undefined ? (isSecure ? TLS_PORT : PLAIN_PORT) : Number(portText);
  if (port < 1 || port > 65_535) return "port";
  const isTcp = query?.toLowerCase() === "tcp";
  if (scheme === "stun") return isTcp ? "unsupported" : { kind: "stun", transport: "udp", host, port };
  if (scheme === "stuns" || (isSecure && query !== undefined && !isTcp)) return "unsupported";
  return { kind: "turn", transport: isSecure ? "tls" : isTcp ? "tcp" : "udp", host, port };
}
