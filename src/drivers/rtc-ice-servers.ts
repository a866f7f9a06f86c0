import type { RtcOptions } from "../proto/negotiation/rtc.ts";

/**
 * STUN and TURN addresses for stacks that take one of each: the first STUN entry and the first TURN entry that the stack
 * can speak (RFC 7064, RFC 7065). Several of a kind are rungs of the dial ladder, not of one connection.
 */

export type TurnTransport = "udp" | "tcp" | "tls";

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

export interface TurnServer extends ServerAddress {
  readonly transport: TurnTransport;
  readonly username: string;
  readonly credential: string;
}

/** Which servers a connection uses; neither is ever filled in by default. */
export interface ServerChoice {
  readonly stun?: ServerAddress;
  readonly turn?: TurnServer;
}

const URL_SHAPE = /^(stuns?|turns?):(?:\[([0-9a-f:.]+)\]|([^\s:?[\]]+))(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/i;

/**
 * Chooses from `options.iceServers`. `transports`: the ways to TURN that the stack speaks; entries for others are passed
 * over, as are `stuns:` and TURN over DTLS. A text: why there can be no connection with these options.
 */
export function chooseServers(
  options: Pick<RtcOptions, "iceServers" | "iceTransportPolicy">,
  transports: readonly TurnTransport[],
): ServerChoice | string {
  let stun: ServerAddress | undefined;
  let turn: TurnServer | undefined;
  for (const server of options.iceServers) {
    for (const url of typeof server.urls === "string" ? [server.urls] : server.urls) {
      const [, name, six, four, portText, query] = URL_SHAPE.exec(url.trim()) ?? [];
      const host = six ?? four;
      if (name === undefined || host === undefined) return "an ICE server is not a stun: or turn: URL";
      const scheme = name.toLowerCase();
      const port = portText === undefined ? (scheme.endsWith("s") ? 5349 : 3478) : Number(portText);
      if (port < 1 || port > 65_535) return "an ICE server has no valid port";
      if (scheme === "stun") stun ??= { host, port };
      if (!scheme.startsWith("turn") || turn !== undefined) continue;
      if (scheme === "turns" && query?.toLowerCase() === "udp") continue;
      const transport = scheme === "turns" ? "tls" : query?.toLowerCase() === "tcp" ? "tcp" : "udp";
      if (!transports.includes(transport)) continue;
      const { username, credential } = server;
      if (!username || !credential) return "a TURN server needs a username and a credential";
      turn = { host, port, transport, username, credential };
    }
  }
  if (options.iceTransportPolicy === "relay" && turn === undefined) {
    return "relay only, and no TURN server that this stack can speak to";
  }
  return { ...(stun === undefined ? {} : { stun }), ...(turn === undefined ? {} : { turn }) };
}
