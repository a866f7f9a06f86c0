import {
  CipherContext,
  HashAlgorithm,
  NamedCurveAlgorithm,
  type RTCDataChannel,
  type RTCPeerConnection,
  type RTCPeerConnectionConfig,
  SignatureAlgorithm,
} from "werift";
import type { RtcOptions } from "../proto/negotiation/rtc.ts";
import type { ServerChoice } from "./rtc-ice-servers.ts";
import { addressText } from "./rtc-remote.ts";

/** What werift is told where its own defaults or rules do not fit. */

/** A DTLS certificate with its key, as werift takes them. */
export type Keys = Awaited<ReturnType<typeof CipherContext.createSelfSignedCertificateWithKey>>;

/** Where werift's own default would be a public server. Nothing is sent there either: the driver clears it. */
const NO_STUN = "stun:127.0.0.1:9";

/** A new certificate (ECDSA, P-256; 4 ms). werift's own would be shared by all its users in the process. */
export function makeKeys(): Promise<Keys> {
  return CipherContext.createSelfSignedCertificateWithKey(
    { hash: HashAlgorithm.sha256_4, signature: SignatureAlgorithm.ecdsa_3 },
    NamedCurveAlgorithm.secp256r1_23,
  );
}

/** The configuration of one peer connection. */
export function configOf(
  options: RtcOptions,
  servers: ServerChoice,
  settings: { readonly keys: Keys; readonly stunTimeoutMs: number; readonly maxFrameBytes: number },
): RTCPeerConnectionConfig {
  const { stun, turn } = servers;
  const iceServers = [{ urls: stun === undefined ? NO_STUN : `stun:${addressText(stun.host, stun.port)}` }];
  if (turn !== undefined) {
    const scheme = turn.transport === "tls" ? "turns" : "turn";
    const transport = turn.transport === "udp" ? "udp" : "tcp";
    const urls = `${scheme}:${addressText(turn.host, turn.port)}?transport=${transport}`;
    iceServers.push(Object.assign({ urls }, { username: turn.username, credential: turn.credential }));
  }
  return {
    iceServers,
    iceTransportPolicy: options.iceTransportPolicy ?? "all",
    iceStunGatherTimeout: settings.stunTimeoutMs / 1_000,
    dtls: { keys: settings.keys },
    maxMessageSize: settings.maxFrameBytes,
    ...(options.portRange === undefined ? {} : { icePortRange: [...options.portRange] }),
    ...(options.extraAddresses === undefined ? {} : { iceAdditionalHostAddresses: [...options.extraAddresses] }),
  };
}

/**
 * RFC 8832, section 6: the DTLS client takes an even stream, the server an odd one, and a peer may insist. werift goes by the
 * ICE role instead, which is wrong when an answerer is passive.
 */
export function assignStream(channel: RTCDataChannel, dtlsRole: string): void {
  const id = dtlsRole === "client" ? 0 : 1;
  channel.setId(id);
  channel.sctp.dataChannels[id] = channel;
}

/**
 * Pairs the peer's candidates with a relay that was allocated after they came. werift does so for host candidates only, and
 * otherwise never tries the relay. Adding the same candidates again makes the missing pairs and no others.
 */
export function pairAgain(peer: RTCPeerConnection): void {
  for (const { connection } of peer.iceTransports) {
    for (const candidate of [...connection.remoteCandidates]) connection.addRemoteCandidate(candidate).catch(() => {});
  }
}
