/**
 * The state directory: everything that makes an agent the same agent after a restart.
 *
 *     node.key       the node key: who this agent is
 *     cluster.json   the cluster: name, root's public key, issuers, servers     cluster.key, keyring   its secrets
 *     decrees        what the cluster has decreed: lists of issuing keys, revocations, rotations
 *     token          the member token
 *     boot           how often this agent has started
 *     members.cache  last known member records
 *     node.next      a node key and its token that the next start puts in the place of these
 *     former.keys    issuing keys that this agent has replaced, until they end
 *     lock           held while an agent runs
 *     config.yaml    settings, written by people
 *     root.key, issuing.key, place.key   only where a cluster was created, or an issuer runs
 *
 * Two agents never share one: the lock sees to it. Files with secrets have mode 0600 and are refused with any other. Every
 * file is replaced as a whole, so a crash at any moment leaves a directory that works.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { MAX_TOKEN_LENGTH } from "../proto/limits.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import type { Crypto, SigningKey } from "../proto/trust/crypto.ts";
import { CLUSTER_FILE, readClusterFiles, writeClusterFiles } from "./state/cluster-files.ts";
import { DECREES_FILE, readDecreeFile, writeDecreeFile } from "./state/decree-file.ts";
import { createSigningKeyFile, readSigningKeyFile } from "./state/key-file.ts";
import { acquireLock, LOCK_FILE, type Lock } from "./state/lock.ts";
import { readMemberCache, writeMemberCache } from "./state/member-cache.ts";
import { ensurePrivateFolder, exists, readPrivateText, removeAbandoned, writePrivate } from "./state/private-files.ts";
import { installSuccessor, type Successor, writeSuccessor } from "./state/successor.ts";

/** The key of the agent, or of the server, whose state it is. */
export const NODE_KEY_FILE = "node.key";
/** Where its audit log lies. */
export const AUDIT_FOLDER = "audit";
const TOKEN_FILE = "token";
const BOOT_FILE = "boot";
const MEMBERS_FILE = "members.cache";

/** A state directory that this process holds the lock of. Its methods throw `state-unavailable` when the disk fails. */
export interface StateDirectory extends AsyncDisposable {
  /** The folder's path. */
  readonly path: string;
  /** This agent's key, made at the first start. */
  readonly nodeKey: SigningKey;
  /** Rises with every start, durably: 1 to 2^32 - 1. Records of this start are newer than all of earlier ones. */
  readonly bootCount: number;
  /** The cluster that it belongs to; undefined before it has joined one. Throws `state-corrupt` or `weak-key`. */
  readCluster(): Promise<Cluster | undefined>;
  /** Keeps a cluster whose list of issuers the caller has accepted, in place of what was there. */
  writeCluster(cluster: Cluster): Promise<void>;
  /** The encoded decrees last kept, unchecked; none if there are none. */
  readDecrees(): Promise<readonly Uint8Array[]>;
  /** Keeps encoded decrees; durable when it resolves. */
  writeDecrees(decrees: readonly Uint8Array[]): Promise<void>;
  /** The member token as it was last kept; undefined when there is none. It may have expired. */
  readToken(): Promise<string | undefined>;
  /** Keeps a member token; durable when it resolves. */
  writeToken(token: string): Promise<void>;
  /** Forgets the token, for an agent that was revoked or moves to another cluster. */
  removeToken(): Promise<void>;
  /** The member records last kept, encoded as they were given; none if there are none. At most 512. */
  readMembers(): Promise<readonly Uint8Array[]>;
  /** Keeps up to 512 encoded member records of at most 16 KiB each, for a rejoin. */
  writeMembers(records: readonly Uint8Array[]): Promise<void>;
  /** Keeps the node key and token that the next start is to have in the place of these; durable when it resolves. */
  writeSuccessor(successor: Successor): Promise<void>;
  /** Gives up the lock. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the state directory at `path` and makes what is missing: folder, node key. Counts a start. Throws `state-locked`
 * when another process holds it, `key-file-permissions`, `state-corrupt` or `weak-key` for its node key.
 */
export async function openStateDirectory(path: string, crypto: Crypto): Promise<StateDirectory> {
  await ensurePrivateFolder(path);
  const lock = await acquireLock(join(path, LOCK_FILE));
  try {
    await removeAbandoned(path);
    await installSuccessor(path, { nodeKey: NODE_KEY_FILE, token: TOKEN_FILE, audit: AUDIT_FOLDER }, crypto);
    const keyPath = join(path, NODE_KEY_FILE);
    const known = await readSigningKeyFile(keyPath, crypto);
    const bootCount = await countBoot(join(path, BOOT_FILE), known !== undefined);
    const nodeKey = known ?? (await createNodeKey(keyPath, crypto));
    return held(path, lock, nodeKey, bootCount, crypto);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Whether the folder belongs to a cluster, without taking its lock. */
export async function hasCluster(path: string): Promise<boolean> {
  return exists(join(path, CLUSTER_FILE));
}

function held(path: string, lock: Lock, nodeKey: SigningKey, bootCount: number, crypto: Crypto): StateDirectory {
  const tokenPath = join(path, TOKEN_FILE);
  const decreesPath = join(path, DECREES_FILE);
  const membersPath = join(path, MEMBERS_FILE);
  return {
    path,
    nodeKey,
    bootCount,
    readCluster: () => readClusterFiles(path, crypto),
    writeCluster: (cluster) => writeClusterFiles(path, cluster, crypto),
    readDecrees: () => readDecreeFile(decreesPath),
    writeDecrees: (decrees) => writeDecreeFile(decreesPath, decrees),
    readToken: async () => (await readPrivateText(tokenPath, MAX_TOKEN_LENGTH + 2)) || undefined,
    writeToken: (token) => writePrivate(tokenPath, `${token}\n`),
    removeToken: () => rm(tokenPath, { force: true }),
    readMembers: () => readMemberCache(membersPath),
    writeSuccessor: (successor) => writeSuccessor(path, successor),
    writeMembers: (records) => writeMemberCache(membersPath, records),
    close: () => lock.release(),
    [Symbol.asyncDispose]: () => lock.release(),
  };
}

async function createNodeKey(path: string, crypto: Crypto): Promise<SigningKey> {
  const seed = crypto.generateNodeKey();
  const key = { seed, publicKey: crypto.authority(seed).publicKey };
  await createSigningKeyFile(path, key, "the key of this node");
  return key;
}

/**
 * Counts a start. If the count was lost while the node key was not, it continues at the Unix time in seconds, which is above
 * any count of starts, so that the cluster still takes this start for the newest.
 */
async function countBoot(path: string, hasKey: boolean): Promise<number> {
  const text = await readPrivateText(path, 32);
  const last = text !== undefined && /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined;
  const fallback = hasKey ? Math.floor(Date.now() / 1_000) : 1;
  const count = last !== undefined && last < 0xffff_ffff ? last + 1 : fallback;
  await writePrivate(path, `${count}\n`);
  return count;
}
