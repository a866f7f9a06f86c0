import type { Family } from "./address.ts";
import { Attribute, type StunErrorCode } from "./attributes.ts";
import type { PortWish } from "./events.ts";
import type { TurnLimits } from "./limits.ts";
import { type StunMessage, u32 } from "./message.ts";

/** What an Allocate request asks for, found to be allowed. */
export interface AllocateWish {
  /** The first must be had; a second, IPv6, may be missing from the answer. */
  readonly families: readonly Family[];
  readonly wish: PortWish;
  /** A port reserved earlier; then nothing else is chosen. */
  readonly token: Uint8Array | undefined;
  readonly lifetimeMs: number;
  /** IPv6 was asked for beside IPv4. */
  readonly isDual: boolean;
}

/** The number of UDP in REQUESTED-TRANSPORT, the only one that this server relays. */
const UDP = 17;

/**
 * Reads an Allocate request in the order of RFC 8656, section 7.2; an error code when it asks for something impossible.
 * Families that the server has no address of are told apart by the caller.
 */
export function readAllocate(message: StunMessage, limits: TurnLimits): AllocateWish | StunErrorCode {
  const transport = message.value(Attribute.requestedTransport);
  if (transport?.length !== 4) return 400;
  if (transport[0] !== UDP) return 442;
  const token = message.value(Attribute.reservationToken);
  const evenPort = message.value(Attribute.evenPort);
  const family = message.value(Attribute.requestedAddressFamily);
  const additional = message.value(Attribute.additionalAddressFamily);
  if (token !== undefined && (token.length !== 8 || evenPort !== undefined || family !== undefined)) return 400;
  if (evenPort !== undefined && evenPort.length !== 1) return 400;
  if (family !== undefined && (family.length !== 4 || additional !== undefined)) return 400;
  const reservesNext = evenPort !== undefined && ((evenPort[0] as number) & 0x80) > 0;
  if (additional !== undefined && (additional[0] !== IPV6 || token !== undefined || reservesNext)) return 400;
  const first = family === undefined ? 4 : familyOfCode(family[0]);
  if (first === undefined) return 440;
  const lifetime = readLifetime(message);
  if (lifetime === undefined) return 400;
  return {
    families: additional === undefined ? [first] : [4, 6],
    wish: evenPort === undefined ? "any" : reservesNext ? "even-and-next" : "even",
    token,
    lifetimeMs: grantedLifetime(lifetime === "absent" ? 0 : lifetime, limits),
    isDual: additional !== undefined,
  };
}

const IPV4 = 1;
const IPV6 = 2;

/** The family of a code in REQUESTED-ADDRESS-FAMILY. */
export function familyOfCode(code: number | undefined): Family | undefined {
  return code === IPV4 ? 4 : code === IPV6 ? 6 : undefined;
}

/** LIFETIME in ms; undefined when it has the wrong length. */
export function readLifetime(message: StunMessage): number | "absent" | undefined {
  const at = message.find(Attribute.lifetime);
  if (at === 0) return "absent";
  return message.length(at) === 4 ? u32(message.bytes, at) * 1_000 : undefined;
}

/** The life that a client gets which asks for `lifetimeMs`: never less than the default, never more than the most. */
export function grantedLifetime(lifetimeMs: number, limits: TurnLimits): number {
  return Math.max(limits.defaultLifetimeMs, Math.min(lifetimeMs, limits.maxLifetimeMs));
}
