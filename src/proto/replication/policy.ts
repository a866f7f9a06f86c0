import { decode, encode, type WireValue } from "../wire/codec.ts";
import { integer, tuple } from "../wire/shape.ts";
import { MAX_COPIES, MAX_POLICY_MS, MIN_POLICY_MS } from "./limits.ts";

/**
 * What is agreed about a bucket, kept as an entry like any other: its key in the reserved bucket `starling.buckets` is the name of the bucket
 * that it is about, and writing it takes the scope `kv:admin:BUCKET`. So it is signed, ordered, durable and everywhere. A bucket without an
 * entry has the default. What is no policy is taken for the default too.
 *
 * On the wire: `[1, replicas (0: all), ttl, retention, keys, bytes]`, with 0 for what is not set.
 */
export interface Policy {
  /** Copies of each key: on every member, or on so many of those that store, 2 to 16. */
  readonly replicas: "all" | number;
  /** Values go so long after they were written, ms. Undefined: they stay. */
  readonly ttlMs: number | undefined;
  /** How long deletions are remembered, ms. Undefined: a day. */
  readonly retentionMs: number | undefined;
  /** What one member holds of the bucket at most. Undefined: what it holds of any bucket. */
  readonly maxKeys: number | undefined;
  readonly maxBytes: number | undefined;
}

/** Where policies are kept. Every member has it. */
export const POLICY_BUCKET = "starling.buckets";

export const DEFAULT_POLICY: Policy = {
  replicas: "all",
  ttlMs: undefined,
  retentionMs: undefined,
  maxKeys: undefined,
  maxBytes: undefined,
};

const VERSION = 1;
const LIMITS = { depth: 1, items: 8 };

/** The value of a policy's entry. */
export function encodePolicy({ replicas, ttlMs, retentionMs, maxKeys, maxBytes }: Policy): Uint8Array {
  const copies = replicas === "all" ? 0 : replicas;
  return encode([VERSION, copies, ttlMs ?? 0, retentionMs ?? 0, maxKeys ?? 0, maxBytes ?? 0]);
}

/** The policy in an entry's value; undefined when it is none. */
export function parsePolicy(value: Uint8Array): Policy | undefined {
  const decoded = decode(value, LIMITS);
  const fields = decoded.ok ? tuple(decoded.value, 6) : undefined;
  const copies = integer(fields?.[1], 0, MAX_COPIES);
  if (fields?.[0] !== VERSION || copies === undefined || copies === 1) return undefined;
  const ttlMs = duration(fields[2]);
  const retentionMs = duration(fields[3]);
  const maxKeys = integer(fields[4]);
  const maxBytes = integer(fields[5]);
  if (ttlMs === undefined || retentionMs === undefined || maxKeys === undefined || maxBytes === undefined)
    return undefined;
  return {
    replicas: copies === 0 ? "all" : copies,
    ttlMs: ttlMs || undefined,
    retentionMs: retentionMs || undefined,
    maxKeys: maxKeys || undefined,
    maxBytes: maxBytes || undefined,
  };
}

/** 0, or a duration within the bounds. */
function duration(value: WireValue | undefined): number | undefined {
  const ms = integer(value, 0, MAX_POLICY_MS);
  return ms === undefined || (ms > 0 && ms < MIN_POLICY_MS) ? undefined : ms;
}
