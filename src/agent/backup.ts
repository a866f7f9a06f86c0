import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { nodeCrypto } from "../drivers/crypto.ts";
import { acquireLock } from "../drivers/state/lock.ts";
import { openStateDirectory } from "../drivers/state-directory.ts";
import { readBackup } from "../drivers/store/backup-file.ts";
import { StarlingError } from "../errors.ts";
import type { Snapshot } from "../proto/replication/snapshot.ts";
import type { Row } from "../store.ts";
import { openStore, type StoreKind } from "./storage.ts";

/** Rows taken at a stretch, and their bytes: a few ms. */
const PORTION_ROWS = 512;
const PORTION_BYTES = 1_048_576;

/** The rows of a snapshot in portions, with a turn of the event loop between. */
export async function* portions(snapshot: Snapshot): AsyncGenerator<readonly Row[], void, undefined> {
  let portion: Row[] = [];
  let bytes = 0;
  for (const { space, name, value } of snapshot.rows()) {
    if (value === undefined) continue;
    portion.push({ space, name, value });
    bytes += value.length;
    if (portion.length < PORTION_ROWS && bytes < PORTION_BYTES) continue;
    yield portion;
    await setImmediate();
    portion = [];
    bytes = 0;
  }
  if (portion.length > 0) yield portion;
}

/** What {@link restoreBackup} needs. */
export interface RestoreOptions {
  readonly file: string;
  /** The one that the backup was made with. */
  readonly passphrase: string;
  /** Of an agent that does not run. */
  readonly stateDirectory: string;
  readonly kind: Exclude<StoreKind, "memory">;
  readonly storePassphrase: string | undefined;
}

/**
 * Puts a backup into the store of an agent that does not run and holds no values; resolves with the number of rows. Throws `state-locked`,
 * `no-cluster`, `already-exists` when the store holds something, `permission-denied`, `state-corrupt`, and `usage` for a backup of
 * another cluster. A backup that turns out damaged half way leaves what came before the damage.
 */
export async function restoreBackup(options: RestoreOptions): Promise<number> {
  const { file, passphrase, stateDirectory, kind, storePassphrase } = options;
  const crypto = nodeCrypto();
  await using state = await openStateDirectory(stateDirectory, crypto);
  const cluster = await state.readCluster();
  if (cluster === undefined)
    throw new StarlingError(
      "no-cluster",
      `${stateDirectory} belongs to no cluster; join it with \`starling up\` first`,
    );
  await using store = await openStore(kind, state.path, storePassphrase, acquireLock);
  if ((await store.size()).rows > 0) {
    const message = `the store in ${join(state.path)} holds values; restore into an agent that holds none`;
    throw new StarlingError("already-exists", message);
  }
  const backup = await readBackup(file, passphrase);
  if (backup.cluster !== cluster.clusterId) {
    await backup.rows.return();
    throw new StarlingError("usage", `${file} is of the cluster ${backup.cluster}, and this agent is of another`);
  }
  let count = 0;
  for await (const rows of backup.rows) {
    await store.commit(rows);
    count += rows.length;
  }
  return count;
}
