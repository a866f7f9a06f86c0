import { parseIceUrl, type ServerAddress } from "../proto/negotiation/ice-url.ts";
import type { Transport } from "../proto/negotiation/plan.ts";
import type { RtcOptions } from "../proto/negotiation/rtc.ts";

/**
 * STUN and TURN addresses for stacks that take one of each: the first STUN entry and the first TURN entry that the stack
 * can speak. Which of several it gets is chosen in `proto/negotiation/server-pool.ts`.
 */

export interface TurnServer extends ServerAddress {
  readonly transport: Transport;
  readonly username: string;
  readonly credential: string;
}

/** Which servers a connection uses; neither is ever filled in by default. */
export interface ServerChoice {
  readonly stun?: ServerAddress;
  readonly turn?: TurnServer;
}

/**
 * Chooses from `options.iceServers`. `transports`: the ways to TURN that the stack speaks; entries for others are passed
 * over, as are `stuns:` and TURN over DTLS. A text: why there can be no connection with these options.
 */
export function chooseServers(
  options: Pick<RtcOptions, "iceServers" | "iceTransportPolicy">,
  transports: readonly Transport[],
): ServerChoice | string {
  let stun: ServerAddress | undefined;
  let turn: TurnServer | undefined;
  for (const server of options.iceServers) {
    for (const url of typeof server.urls === "string" ? [server.urls] : server.urls) {
      const at = parseIceUrl(url);
      if (at === "malformed") return "an ICE server is not a stun: or turn: URL";
      if (at === "port") return "an ICE server has no valid port";
      if (at === "unsupported") continue;
      const { kind, transport, host, port } = at;
      if (kind === "stun") stun ??= { host, port };
      if (kind !== "turn" || turn !== undefined) continue;
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
