import { publicKeyOf } from "../peer-id.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, list, peer, text, tuple } from "../wire/shape.ts";
import { signalingLimits as limits, scanLimits } from "./limits.ts";
import { type ClientMessage, Kind, type Malformed, SIGNALING_VERSION } from "./messages.ts";

/** The wire form of what an agent says to a signaling server; the exact arrays stand in {@link encodeClientMessage}. */

const MALFORMED: Malformed = { type: "malformed", fault: "shape" };
const OVERSIZE: Malformed = { type: "malformed", fault: "oversize" };

/** Encodes one message; the caller keeps the bounds of `signalingLimits`. */
export function encodeClientMessage(message: Exclude<ClientMessage, { type: "foreign-hello" }>): Uint8Array {
  switch (message.type) {
    case "hello":
      return encode([
        Kind.hello,
        [SIGNALING_VERSION],
        message.cluster,
        publicKeyOf(message.peer),
        message.instance,
        message.serverName,
      ]);
    case "login":
      return encode([Kind.login, message.at, message.signature, message.token]);
    case "exchange":
      return encode([Kind.exchange, message.kid, message.bytes]);
    case "present":
      return encode([Kind.present, message.record]);
    case "introduce":
      return encode([Kind.introduce, message.count]);
    case "signal":
      return encode([Kind.signal, publicKeyOf(message.to), message.bytes, message.id]);
    case "renew":
      return encode([Kind.renew, message.token]);
    case "ice":
      return encode([Kind.ice]);
    case "time":
      return encode([Kind.time, message.id]);
    case "desk":
      return encode([Kind.desk, message.desk]);
    case "answer":
      return encode([Kind.answer, message.id, message.bytes]);
    case "compare":
      return encode([Kind.compare, message.sums]);
    case "decrees":
      return encode([Kind.decrees, message.decrees]);
    case "seek":
      return encode([Kind.seek, message.share, message.token]);
    case "goodbye":
      return encode([Kind.goodbye]);
  }
}

/** Decodes and checks one message. Byte strings in the result are views of `raw`. Never throws. */
export function decodeClientMessage(raw: Uint8Array): ClientMessage | Malformed {
  if (raw.length > limits.clientMessageBytes) return OVERSIZE;
  const decoded = decode(raw, scanLimits);
  if (!decoded.ok) return { type: "malformed", fault: decoded.fault };
  if (!Array.isArray(decoded.value)) return MALFORMED;
  const items = decoded.value as readonly WireValue[];
  return parse(items) ?? MALFORMED;
}

function parse(items: readonly WireValue[]): ClientMessage | undefined {
  switch (items[0]) {
    case Kind.hello:
      return parseHello(items);
    case Kind.login:
      return parseLogin(items);
    case Kind.exchange: {
      const kid = text(items[1], limits.kidLength);
      const sealed = bytes(items[2], limits.exchangeBytes);
      return items.length === 3 && kid !== undefined && sealed?.length
        ? { type: "exchange", kid, bytes: sealed }
        : undefined;
    }
    case Kind.desk: {
      const desk = bytes(items[1], limits.deskBytes);
      return items.length === 2 && desk?.length ? { type: "desk", desk } : undefined;
    }
    case Kind.answer: {
      const id = integer(items[1], 0, 0xffff_ffff);
      const sealed = bytes(items[2], limits.exchangeBytes);
      return items.length === 3 && id !== undefined && sealed?.length
        ? { type: "answer", id, bytes: sealed }
        : undefined;
    }
    case Kind.present: {
      const record = bytes(items[1], limits.recordBytes);
      return items.length === 2 && record?.length ? { type: "present", record } : undefined;
    }
    case Kind.introduce: {
      const count = integer(items[1], 1, limits.introductions);
      return items.length === 2 && count !== undefined ? { type: "introduce", count } : undefined;
    }
    case Kind.signal: {
      const to = peer(items[1]);
      const sealed = bytes(items[2], limits.signalBytes);
      const id = integer(items[3], 0, 0xffff_ffff);
      if (items.length !== 4 || to === undefined || sealed === undefined || id === undefined) return undefined;
      return { type: "signal", to, bytes: sealed, id };
    }
    case Kind.renew: {
      const token = text(items[1], limits.showingLength);
      return items.length === 2 && token !== undefined ? { type: "renew", token } : undefined;
    }
    case Kind.time: {
      const id = integer(items[1], 0, 0xffff_ffff);
      return items.length === 2 && id !== undefined ? { type: "time", id } : undefined;
    }
    case Kind.ice:
      return items.length === 1 ? { type: "ice" } : undefined;
    case Kind.compare: {
      const sums = bytesOf(items[1], limits.sumsBytes);
      return items.length === 2 && sums !== undefined ? { type: "compare", sums } : undefined;
    }
    case Kind.decrees: {
      const decrees = list(items[1], limits.decrees, (decree) => bytes(decree, limits.decreeBytes));
      return items.length === 2 && decrees?.length ? { type: "decrees", decrees } : undefined;
    }
    case Kind.seek: {
      const share = bytesOf(items[1], 32);
      const token = text(items[2], limits.tokenLength);
      if (items.length !== 3 || share === undefined || token === undefined) return undefined;
      return { type: "seek", share, token };
    }
    case Kind.goodbye:
      return items.length === 1 ? { type: "goodbye" } : undefined;
    default:
      return undefined;
  }
}

/** The versions are read before the shape, so that a later version may change everything after them. */
function parseHello(items: readonly WireValue[]): ClientMessage | undefined {
  const versions = list(items[1], limits.versions, version);
  if (versions === undefined) return undefined;
  if (!versions.includes(SIGNALING_VERSION)) return { type: "foreign-hello" };
  const cluster = text(items[2], limits.clusterIdLength);
  const id = peer(items[3]);
  const instance = bytesOf(items[4], limits.instanceBytes);
  const serverName = text(items[5], limits.serverNameLength);
  if (tuple(items, 6) === undefined || cluster === undefined || id === undefined) return undefined;
  if (instance === undefined || serverName === undefined) return undefined;
  return { type: "hello", cluster, peer: id, instance, serverName };
}

function parseLogin(items: readonly WireValue[]): ClientMessage | undefined {
  const at = integer(items[1]);
  const signature = bytesOf(items[2], 64);
  const token = text(items[3], limits.tokenLength);
  if (items.length !== 4 || at === undefined || signature === undefined || token === undefined) return undefined;
  return { type: "login", at, signature, token };
}

function version(value: WireValue): number | undefined {
  return integer(value, 1, 0xffff);
}
