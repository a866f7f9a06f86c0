import { publicKeyOf } from "../peer-id.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, list, peer, text, tuple } from "../wire/shape.ts";
import { signalingLimits as limits, scanLimits } from "./limits.ts";
import {
  type IceGrant,
  Kind,
  type LoginProof,
  type Malformed,
  type RefusalCode,
  refusalCode,
  type ServerMessage,
  type UndeliveredReason,
} from "./messages.ts";
import { printable } from "./printable.ts";

/** The wire form of what a signaling server says to an agent; the exact arrays stand in {@link encodeServerMessage}. */

const MALFORMED: Malformed = { type: "malformed", fault: "shape" };
const OVERSIZE: Malformed = { type: "malformed", fault: "oversize" };

/** Reasons by their number on the wire. */
const REASONS: readonly UndeliveredReason[] = ["absent", "rate-limited"];

/** Encodes one message; the caller keeps the bounds of `signalingLimits`. */
export function encodeServerMessage(message: ServerMessage): Uint8Array {
  switch (message.type) {
    case "challenge":
      return encode([
        Kind.challenge,
        message.version,
        message.nonce,
        message.serverName,
        Math.round(message.serverTime),
        message.desks,
      ]);
    case "exchanged":
      return encode([Kind.exchanged, message.bytes]);
    case "asked":
      return encode([Kind.asked, message.id, message.bytes]);
    case "welcome":
      return encode([
        Kind.welcome,
        Math.round(message.expiresAt),
        message.issuers,
        message.introductions,
        message.iceServers.map(iceItems),
      ]);
    case "introductions":
      return encode([Kind.introductions, message.records]);
    case "signal":
      return encode([Kind.relayed, publicKeyOf(message.from), message.bytes]);
    case "undelivered":
      return encode([Kind.undelivered, publicKeyOf(message.to), message.id, REASONS.indexOf(message.reason)]);
    case "renewed":
      return encode([Kind.renewed, message.token, Math.round(message.expiresAt), message.iceServers.map(iceItems)]);
    case "granted":
      return encode([Kind.granted, message.iceServers.map(iceItems)]);
    case "wanted":
      return encode([Kind.wanted, message.sums]);
    case "decreed":
      return encode([Kind.decreed, message.decrees]);
    case "ticket":
      return encode([Kind.ticket, message.share, message.ticket, message.lifeMs]);
    case "unrenewed":
      return encode([Kind.unrenewed, message.code, message.detail.slice(0, limits.detailLength)]);
    case "time":
      return encode([Kind.serverTime, message.id, Math.round(message.serverTime)]);
    case "expiring":
      return encode([Kind.expiring, Math.round(message.expiresAt)]);
    case "fenced": {
      const { nonce, serverName, instance, at, signature } = message.rival;
      return encode([Kind.fenced, nonce, serverName, instance, at, signature]);
    }
    case "refused":
      return encode([Kind.refused, message.code, message.detail.slice(0, limits.detailLength)]);
    case "going-away":
      return encode([Kind.goingAway, message.reconnectAfterMs]);
  }
}

/** A relayed signal, from the sender's raw key: spares the server the base32 of every message. */
export function encodeRelayed(senderKey: Uint8Array, sealed: Uint8Array): Uint8Array {
  return encode([Kind.relayed, senderKey, sealed]);
}

function iceItems(grant: IceGrant): WireValue {
  return [grant.urls, grant.username ?? null, grant.credential ?? null, grant.expiresAt ?? null];
}

/** Decodes and checks one message. Byte strings in the result are views of `raw`. Never throws. */
export function decodeServerMessage(raw: Uint8Array): ServerMessage | Malformed {
  if (raw.length > limits.serverMessageBytes) return OVERSIZE;
  const decoded = decode(raw, scanLimits);
  if (!decoded.ok) return { type: "malformed", fault: decoded.fault };
  if (!Array.isArray(decoded.value)) return MALFORMED;
  return parse(decoded.value as readonly WireValue[]) ?? MALFORMED;
}

function parse(items: readonly WireValue[]): ServerMessage | undefined {
  switch (items[0]) {
    case Kind.challenge:
      return parseChallenge(items);
    case Kind.welcome:
      return parseWelcome(items);
    case Kind.introductions: {
      const records = list(items[1], limits.introductions, record);
      return items.length === 2 && records !== undefined ? { type: "introductions", records } : undefined;
    }
    case Kind.relayed: {
      const from = peer(items[1]);
      const sealed = bytes(items[2], limits.signalBytes);
      if (items.length !== 3 || from === undefined || sealed === undefined) return undefined;
      return { type: "signal", from, bytes: sealed };
    }
    case Kind.undelivered: {
      const to = peer(items[1]);
      const id = integer(items[2], 0, 0xffff_ffff);
      const reason = typeof items[3] === "number" ? REASONS[items[3]] : undefined;
      if (items.length !== 4 || to === undefined || id === undefined || reason === undefined) return undefined;
      return { type: "undelivered", to, id, reason };
    }
    case Kind.renewed:
      return parseRenewed(items);
    case Kind.granted: {
      const iceServers = list(items[1], limits.iceServers, iceGrant);
      return items.length === 2 && iceServers !== undefined ? { type: "granted", iceServers } : undefined;
    }
    case Kind.serverTime: {
      const id = integer(items[1], 0, 0xffff_ffff);
      const serverTime = integer(items[2]);
      if (items.length !== 3 || id === undefined || serverTime === undefined) return undefined;
      return { type: "time", id, serverTime };
    }
    case Kind.expiring: {
      const expiresAt = integer(items[1]);
      return items.length === 2 && expiresAt !== undefined ? { type: "expiring", expiresAt } : undefined;
    }
    case Kind.fenced: {
      const rival = parseProof(items);
      return rival === undefined ? undefined : { type: "fenced", rival };
    }
    case Kind.refused: {
      const refusal = parseRefusal(items);
      return refusal === undefined ? undefined : { type: "refused", ...refusal };
    }
    case Kind.unrenewed: {
      const refusal = parseRefusal(items);
      return refusal === undefined ? undefined : { type: "unrenewed", ...refusal };
    }
    case Kind.exchanged: {
      const sealed = bytes(items[1], limits.exchangeBytes);
      return items.length === 2 && sealed?.length ? { type: "exchanged", bytes: sealed } : undefined;
    }
    case Kind.asked: {
      const id = integer(items[1], 0, 0xffff_ffff);
      const sealed = bytes(items[2], limits.exchangeBytes);
      return items.length === 3 && id !== undefined && sealed?.length
        ? { type: "asked", id, bytes: sealed }
        : undefined;
    }
    case Kind.wanted: {
      const sums = bytesOf(items[1], limits.sumsBytes);
      return items.length === 2 && sums !== undefined ? { type: "wanted", sums } : undefined;
    }
    case Kind.decreed: {
      const decrees = list(items[1], limits.decreed, (decree) => bytes(decree, limits.decreeBytes));
      return items.length === 2 && decrees?.length ? { type: "decreed", decrees } : undefined;
    }
    case Kind.ticket: {
      const share = bytesOf(items[1], 32);
      const ticket = bytes(items[2], limits.ticketBytes);
      const lifeMs = integer(items[3]);
      if (items.length !== 4 || share === undefined || !ticket?.length || lifeMs === undefined) return undefined;
      return { type: "ticket", share, ticket, lifeMs };
    }
    case Kind.goingAway: {
      const reconnectAfterMs = integer(items[1]);
      return items.length === 2 && reconnectAfterMs !== undefined
        ? { type: "going-away", reconnectAfterMs }
        : undefined;
    }
    default:
      return undefined;
  }
}

function parseChallenge(items: readonly WireValue[]): ServerMessage | undefined {
  const version = integer(items[1], 1, 0xffff);
  const nonce = bytesOf(items[2], limits.nonceBytes);
  const serverName = text(items[3], limits.serverNameLength);
  const serverTime = integer(items[4]);
  const desks = list(items[5], limits.desks, desk);
  if (tuple(items, 6) === undefined || version === undefined || nonce === undefined) return undefined;
  if (serverName === undefined || serverTime === undefined || desks === undefined) return undefined;
  return { type: "challenge", version, nonce, serverName, serverTime, desks };
}

function parseWelcome(items: readonly WireValue[]): ServerMessage | undefined {
  const expiresAt = integer(items[1]);
  const issuers = bytes(items[2], limits.issuersBytes);
  const introductions = list(items[3], limits.introductions, record);
  const iceServers = list(items[4], limits.iceServers, iceGrant);
  if (tuple(items, 5) === undefined || expiresAt === undefined) return undefined;
  if (issuers === undefined || introductions === undefined || iceServers === undefined) return undefined;
  return { type: "welcome", expiresAt, issuers, introductions, iceServers };
}

function parseRenewed(items: readonly WireValue[]): ServerMessage | undefined {
  const token = text(items[1], limits.tokenLength);
  const expiresAt = integer(items[2]);
  const iceServers = list(items[3], limits.iceServers, iceGrant);
  if (items.length !== 4 || token === undefined || expiresAt === undefined || iceServers === undefined)
    return undefined;
  return { type: "renewed", token, expiresAt, iceServers };
}

function parseProof(items: readonly WireValue[]): LoginProof | undefined {
  const nonce = bytesOf(items[1], limits.nonceBytes);
  const serverName = text(items[2], limits.serverNameLength);
  const instance = bytesOf(items[3], limits.instanceBytes);
  const at = integer(items[4]);
  const signature = bytesOf(items[5], 64);
  if (items.length !== 6 || nonce === undefined || serverName === undefined) return undefined;
  if (instance === undefined || at === undefined || signature === undefined) return undefined;
  return { nonce, serverName, instance, at, signature };
}

function parseRefusal(
  items: readonly WireValue[],
): { readonly code: RefusalCode; readonly detail: string } | undefined {
  const name = text(items[1], 64);
  const code = name === undefined ? undefined : refusalCode(name);
  const detail = text(items[2], limits.detailLength);
  if (items.length !== 3 || code === undefined || detail === undefined) return undefined;
  return { code, detail: printable(detail) };
}

function record(value: WireValue): Uint8Array | undefined {
  return bytes(value, limits.recordBytes);
}

function desk(value: WireValue): Uint8Array | undefined {
  return bytes(value, limits.deskBytes);
}

function iceGrant(value: WireValue): IceGrant | undefined {
  const items = tuple(value, 4);
  if (items === undefined) return undefined;
  const urls = list(items[0], limits.iceUrls, iceText);
  const username = items[1] === null ? null : iceText(items[1]);
  const credential = items[2] === null ? null : iceText(items[2]);
  const expiresAt = items[3] === null ? null : integer(items[3]);
  if (urls === undefined || username === undefined || credential === undefined || expiresAt === undefined)
    return undefined;
  return {
    urls,
    ...(username !== null && { username }),
    ...(credential !== null && { credential }),
    ...(expiresAt !== null && { expiresAt }),
  };
}

function iceText(value: WireValue | undefined): string | undefined {
  return text(value, limits.iceTextLength);
}
