import type { CandidatePair } from "../proto/negotiation/rtc.ts";
import { summaryOf } from "./rtc-remote.ts";

/** simple-peer from outside: what it documents, and the two things inside it that it does not hand out. */

/** An instance of simple-peer 9, as far as it is used. */
export interface SimplePeerLike {
  readonly destroyed: boolean;
  signal(data: { readonly type: "offer" | "answer"; readonly sdp: string }): void;
  send(data: Uint8Array): void;
  destroy(): unknown;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

/** The data channel within, as far as it is used. */
interface ChannelLike {
  readonly bufferedAmount: number;
  bufferedAmountLowThreshold: number;
  addEventListener(event: string, listener: () => void): void;
}

/** The connection within, as far as it is used. */
interface ConnectionLike {
  readonly localDescription?: { readonly type?: string; readonly sdp?: string } | null;
  readonly remoteDescription?: { readonly type?: string; readonly sdp?: string } | null;
  readonly connectionState?: string;
  addEventListener(event: string, listener: () => void): void;
  addIceCandidate(candidate: object): Promise<unknown>;
  getStats(): Promise<{ values(): Iterable<Readonly<Record<string, unknown>>> }>;
}

/** Whether the channel is open. */
export function isConnected(peer: SimplePeerLike): boolean {
  return Reflect.get(peer, "connected") === true && channelOf(peer) !== undefined;
}

/** Whether this side made the offer. */
export function isInitiator(peer: SimplePeerLike): boolean {
  return Reflect.get(peer, "initiator") === true;
}

/** The channel of `peer`; undefined before it is there, after the end, and for what is no simple-peer. */
export function channelOf(peer: SimplePeerLike): ChannelLike | undefined {
  const channel: unknown = Reflect.get(peer, "_channel");
  return isObject(channel) && typeof channel["addEventListener"] === "function"
    ? (channel as object as ChannelLike)
    : undefined;
}

/** The connection of `peer`; undefined after the end, and for what is no simple-peer. */
export function connectionOf(peer: SimplePeerLike): ConnectionLike | undefined {
  const connection: unknown = Reflect.get(peer, "_pc");
  return isObject(connection) && typeof connection["addIceCandidate"] === "function"
    ? (connection as object as ConnectionLike)
    : undefined;
}

/** A description without its candidates, and these: some implementations cannot take both at once. */
export function splitCandidates(sdp: string): { readonly sdp: string; readonly candidates: readonly string[] } {
  const newline = sdp.includes("\r\n") ? "\r\n" : "\n";
  const candidates: string[] = [];
  const lines = sdp.split(newline).filter((line) => {
    if (line.startsWith("a=candidate:")) candidates.push(line.slice(2));
    return !line.startsWith("a=candidate:") && line !== "a=end-of-candidates";
  });
  return { sdp: lines.join(newline), candidates };
}

/** The path that ICE has chosen, from the statistics (W3C webrtc-stats); undefined when they do not tell. */
export async function selectedPairOf(peer: SimplePeerLike): Promise<CandidatePair | undefined> {
  const byId = new Map<unknown, Readonly<Record<string, unknown>>>();
  for (const entry of (await connectionOf(peer)?.getStats())?.values() ?? []) byId.set(entry["id"], entry);
  const entries = [...byId.values()];
  const transport = entries.find((entry) => entry["type"] === "transport" && entry["selectedCandidatePairId"]);
  const pair =
    byId.get(transport?.["selectedCandidatePairId"]) ??
    entries.find((entry) => entry["type"] === "candidate-pair" && entry["nominated"] === true);
  const local = summaryIn(byId.get(pair?.["localCandidateId"]));
  const remote = summaryIn(byId.get(pair?.["remoteCandidateId"]));
  return local && remote && { local, remote };
}

function summaryIn(candidate: Readonly<Record<string, unknown>> | undefined) {
  const address = candidate?.["address"] ?? candidate?.["ip"];
  const port = Number(candidate?.["port"]);
  const type = candidate?.["candidateType"];
  if (typeof address !== "string" || !Number.isInteger(port)) return undefined;
  return summaryOf(typeof type === "string" ? type : "host", address, port);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

interface Description {
  readonly type: string;
  readonly sdp: string;
}

type Connector = new (
  ...how: unknown[]
) => { createOffer(...how: unknown[]): Promise<Description>; createAnswer(...how: unknown[]): Promise<Description> };

/**
 * `wrtc` with descriptions as the W3C says, plain objects: simple-peer writes into them, and those of node-datachannel's W3C
 * interface are read-only.
 */
export function withPlainDescriptions(wrtc: object): object {
  const Connection = Reflect.get(wrtc, "RTCPeerConnection") as Connector;
  class Plain extends Connection {
    override async createOffer(...how: unknown[]): Promise<Description> {
      const { type, sdp } = await super.createOffer(...how);
      return { type, sdp };
    }

    override async createAnswer(...how: unknown[]): Promise<Description> {
      const { type, sdp } = await super.createAnswer(...how);
      return { type, sdp };
    }
  }
  return { ...wrtc, RTCPeerConnection: Plain };
}
