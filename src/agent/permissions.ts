import { StarlingError } from "../errors.ts";
import { type Act, mayDo, rightOfStream, scopeFor } from "../proto/trust/rights.ts";
import type { BucketHost } from "./buckets.ts";

/** Throws `permission-denied` unless `scopes` allow to open streams of `protocol`. */
export function checkMayOpen(scopes: readonly string[], protocol: string): void {
  if (rightOfStream(protocol) !== "member") check(scopes, "open-stream", protocol);
}

/**
 * `host` for an agent whose token grants what `scopes` says at the time: reading throws `permission-denied` without
 * `kv:read:BUCKET`. Writing is judged by every member, and not here.
 */
export function guardReads(host: BucketHost, scopes: () => readonly string[]): BucketHost {
  return {
    write: (request) => host.write(request),
    get: (bucket, key) => {
      check(scopes(), "read-bucket", bucket);
      return host.get(bucket, key);
    },
    list: (bucket, options) => {
      check(scopes(), "read-bucket", bucket);
      return host.list(bucket, options);
    },
    get cursor() {
      return host.cursor;
    },
    isMine: (bucket, key) => host.isMine(bucket, key),
    read: (request, bucket, key, isQuorum) => {
      check(scopes(), "read-bucket", bucket);
      host.read(request, bucket, key, isQuorum);
    },
    policy: (bucket) => host.policy(bucket),
    drain: () => host.drain(),
    changesSince: (cursor, bucket, prefix) => {
      check(scopes(), "read-bucket", bucket);
      return host.changesSince(cursor, bucket, prefix);
    },
  };
}

function check(scopes: readonly string[], act: Act, thing: string): void {
  if (mayDo(scopes, act, thing)) return;
  const message = `this agent's token does not allow ${scopeFor(act, thing)}; ask for an invite with that scope`;
  throw new StarlingError("permission-denied", message);
}
