import { type PeerId, peerIdOf } from "../peer-id.ts";
import type { WireValue } from "./codec.ts";

/**
 * Shape checks for decoded messages, written by hand because they run for every frame. Each returns the value in its
 * precise type, or undefined when the shape is wrong; nothing throws.
 */

/** An array of exactly `length` items. */
export function tuple(value: WireValue | undefined, length: number): readonly WireValue[] | undefined {
  return Array.isArray(value) && value.length === length ? (value as readonly WireValue[]) : undefined;
}

/** An array of at most `most` items, each of which `item` accepts. */
export function list<T>(
  value: WireValue | undefined,
  most: number,
  item: (value: WireValue) => T | undefined,
): readonly T[] | undefined {
  if (!Array.isArray(value) || value.length > most) return undefined;
  const items: T[] = [];
  for (const element of value as readonly WireValue[]) {
    const parsed = item(element);
    if (parsed === undefined) return undefined;
    items.push(parsed);
  }
  return items;
}

/** An integer from `least` to `most`, both included; `most` defaults to 2^53 - 1. */
export function integer(
  value: WireValue | undefined,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most
    ? value
    : undefined;
}

/** A string of at most `most` UTF-16 units. */
export function text(value: WireValue | undefined, most: number): string | undefined {
  return typeof value === "string" && value.length <= most ? value : undefined;
}

/** A byte string of at most `most` bytes. */
export function bytes(value: WireValue | undefined, most: number): Uint8Array | undefined {
  return value instanceof Uint8Array && value.length <= most ? value : undefined;
}

/** A byte string of exactly `length` bytes. */
export function bytesOf(value: WireValue | undefined, length: number): Uint8Array | undefined {
  return value instanceof Uint8Array && value.length === length ? value : undefined;
}

/** A peer's identity from its 32 bytes. */
export function peer(value: WireValue | undefined): PeerId | undefined {
  const key = bytesOf(value, 32);
  return key === undefined ? undefined : peerIdOf(key);
}

/** A boolean. */
export function flag(value: WireValue | undefined): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}
