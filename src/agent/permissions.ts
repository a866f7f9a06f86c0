import { StarlingError } from "../errors.ts";
import { allows, readScope, streamScope } from "../proto/trust/scopes.ts";
import type { BucketHost } from "./buckets.ts";

/** Protocols of Starling itself begin so: they need no scope beyond membership, and no application serves them. */
export const OWN_PREFIX = "starling/";

/** Throws `permission-denied` unless `scopes` allow to open streams of `protocol`. */
export function checkMayOpen(scopes: readonly string[], protocol: string): void {
  if (!protocol.startsWith(OWN_PREFIX)) check(scopes, streamScope(protocol));
}

/**
 * `host` for an agent whose token grants what `scopes` says at the time: reading throws `permission-denied` without
 * `kv:read:BUCKET`. Writing is judged by every member, and not here.
 */
export function guardReads(host: BucketHost, scopes: () => readonly string[]): BucketHost {
  return {
    write: (request) => host.write(request),
    get: (bucket, key) => {
      check(scopes(), readScope(bucket));
      return host.get(bucket, key);
    },
    list: (bucket, options) => {
      check(scopes(), readScope(bucket));
      return host.list(bucket, options);
    },
    get cursor() {
      return host.cursor;
    },
    isMine: (bucket, key) => host.isMine(bucket, key),
    read: (request, bucket, key, isQuorum) => {
      check(scopes(), readScope(bucket));
      host.read(request, bucket, key, isQuorum);
    },
    policy: (bucket) => host.policy(bucket),
    drain: () => host.drain(),
    changesSince: (cursor, bucket, prefix) => {
      check(scopes(), readScope(bucket));
      return host.changesSince(cursor, bucket, prefix);
    },
  };
}

function check(scopes: readonly string[], wanted: string): void {
  if (allows(scopes, wanted)) return;
  const message = `this agent's token does not allow ${wanted}; ask for an invite with that scope`;
  throw new StarlingError("permission-denied", message);
}
