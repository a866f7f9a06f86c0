/**
 * The birth of a cluster: what `starling init` does.
 *
 * Makes a root key, a first issuing key with its list signed by the root, the secret from which places derive, a cluster key
 * and a gossip key, all from the system's CSPRNG. Never overwrites: if any of these files is there, nothing is made.
 */
import { join } from "node:path";
import { StarlingError } from "../../errors.ts";
import { assert } from "../../proto/assert.ts";
import type { IceServer } from "../../proto/negotiation/rtc.ts";
import {
  type Cluster,
  isClusterName,
  isIceUrl,
  isSignalingUrl,
  MAX_ICE_SERVERS,
  MAX_SIGNALING_URLS,
} from "../../proto/trust/cluster.ts";
import { clusterIdOf } from "../../proto/trust/cluster-id.ts";
import type { Crypto, SigningKey } from "../../proto/trust/crypto.ts";
import { encodeIssuers, kidOf } from "../../proto/trust/issuers.ts";
import { KEY_BYTES, keyWeakness } from "../../proto/trust/key-strength.ts";
import { checkScopes, SCOPE_ALL } from "../../proto/trust/scopes.ts";
import { CLUSTER_FILE, CLUSTER_KEY_FILE, KEYRING_FILE, writeClusterFiles } from "./cluster-files.ts";
import { createSecretFile, createSigningKeyFile } from "./key-file.ts";
import { acquireLock, LOCK_FILE } from "./lock.ts";
import { createPrivate, ensurePrivateFolder, exists } from "./private-files.ts";

export const ROOT_KEY_FILE = "root.key";
export const ISSUING_KEY_FILE = "issuing.key";
/** Stands beside every issuing key; its content is the same for all issuers of a cluster. */
export const PLACE_KEY_FILE = "place.key";
const CONFIG_FILE = "config.yaml";

/**
 * The life of the first issuing key, ms: five years. It can be withdrawn at any time by a new list, so its end is a reminder
 * to renew it, not its defence; a year would stop clusters whose root key nobody finds any more.
 */
const ISSUING_KEY_LIFE_MS = 5 * 366 * 24 * 3_600_000;

/** What may be said about a new cluster. */
export interface ClusterOptions {
  /** Shown to people, 1 to 64 characters. Default `starling`. */
  readonly name?: string;
  /** Signaling servers that invites name. Default: none. */
  readonly signaling?: readonly string[];
  /** STUN and TURN servers that invites name. Default: none. */
  readonly iceServers?: readonly IceServer[];
  /** What the first issuing key may grant. Default: everything. */
  readonly scopes?: readonly string[];
  /** Unix ms. Default: the system's time. */
  readonly now?: number;
}

/** A new cluster and where its keys are. */
export interface CreatedCluster {
  readonly cluster: Cluster;
  /** To be moved to a place without a network: whoever has it owns the cluster. */
  readonly rootKeyFile: string;
  readonly issuingKeyFile: string;
  /** What to tell the person who created it, a line each. */
  readonly advice: readonly string[];
}

/** Creates a cluster in `folder`. Throws `already-exists` when the folder holds one, `usage` for wrong options. */
export async function createCluster(folder: string, options: ClusterOptions, crypto: Crypto): Promise<CreatedCluster> {
  const { name = "starling", signaling = [], iceServers = [], scopes = [SCOPE_ALL], now = Date.now() } = options;
  checkOptions(name, signaling, iceServers);
  if (checkScopes(scopes) === undefined) throw new StarlingError("usage", "the ceiling is not a list of scopes");
  await ensurePrivateFolder(folder);
  const lock = await acquireLock(join(folder, LOCK_FILE));
  try {
    await refuseExisting(folder);
    const root = signingKey(crypto);
    const issuing = signingKey(crypto);
    const notAfter = Math.floor(now + ISSUING_KEY_LIFE_MS);
    const issuer = { kid: kidOf(issuing.publicKey), publicKey: issuing.publicKey, scopes, notAfter };
    const body = encodeIssuers({ version: 1, issuers: [issuer] });
    const cluster: Cluster = {
      clusterId: clusterIdOf(root.publicKey),
      name,
      rootPublicKey: root.publicKey,
      issuers: { body, signature: crypto.authority(root.seed).sign("starling/issuers/1", body) },
      clusterKeys: [{ epoch: 1, key: strongKey(crypto) }],
      keyring: [strongKey(crypto)],
      signaling,
      iceServers,
    };
    const rootKeyFile = join(folder, ROOT_KEY_FILE);
    const issuingKeyFile = join(folder, ISSUING_KEY_FILE);
    await createSigningKeyFile(rootKeyFile, root, "the root key of a cluster. Move it to a place without a network");
    await createSigningKeyFile(issuingKeyFile, issuing, "an issuing key of a cluster");
    await createSecretFile(join(folder, PLACE_KEY_FILE), strongKey(crypto), "the issuers' secret of places");
    if (!(await exists(join(folder, CONFIG_FILE)))) await createPrivate(join(folder, CONFIG_FILE), CONFIG_TEMPLATE);
    await writeClusterFiles(folder, cluster, crypto);
    return { cluster, rootKeyFile, issuingKeyFile, advice: adviceOn(rootKeyFile, issuingKeyFile) };
  } finally {
    await lock.release();
  }
}

function checkOptions(name: string, signaling: readonly string[], iceServers: readonly IceServer[]): void {
  if (!isClusterName(name)) throw new StarlingError("usage", "a cluster's name has 1 to 64 printable characters");
  const url = signaling.find((candidate) => !isSignalingUrl(candidate));
  if (url !== undefined) throw new StarlingError("usage", `${url} is no signaling server: write ws://… or wss://…`);
  if (signaling.length > MAX_SIGNALING_URLS || iceServers.length > MAX_ICE_SERVERS) {
    const message = `a cluster names at most ${MAX_SIGNALING_URLS} signaling and ${MAX_ICE_SERVERS} ICE servers`;
    throw new StarlingError("usage", message);
  }
  const ice = iceServers.flatMap((server) => server.urls).find((candidate) => !isIceUrl(candidate));
  if (ice !== undefined) throw new StarlingError("usage", `${ice} is no ICE server: write stun:…, turn:… or turns:…`);
}

async function refuseExisting(folder: string): Promise<void> {
  const names = [ROOT_KEY_FILE, ISSUING_KEY_FILE, PLACE_KEY_FILE, CLUSTER_FILE, CLUSTER_KEY_FILE, KEYRING_FILE];
  for (const name of names) {
    if (!(await exists(join(folder, name)))) continue;
    const message = `${folder} holds ${name} already; nothing was overwritten. Choose another folder with --state, or move it away`;
    throw new StarlingError("already-exists", message);
  }
}

function signingKey(crypto: Crypto): SigningKey {
  const seed = strongKey(crypto);
  return { seed, publicKey: crypto.authority(seed).publicKey };
}

function strongKey(crypto: Crypto): Uint8Array {
  const key = crypto.randomBytes(KEY_BYTES);
  assert(keyWeakness(key) === undefined, "the system's random numbers look random");
  return key;
}

function adviceOn(rootKeyFile: string, issuingKeyFile: string): readonly string[] {
  return [
    `Move ${rootKeyFile} to a place without a network. It is needed only to change the list of issuing keys;`,
    "whoever has it owns the cluster, and nobody can restore it.",
    `Keep ${issuingKeyFile} and ${PLACE_KEY_FILE} beside it on the machines that issue tokens, and nowhere else.`,
  ];
}

const CONFIG_TEMPLATE = `# Settings of this agent. A flag wins over the environment (STARLING_…), which wins over this file.
# \`starling config show\` prints every setting and where it comes from.
#
# name: my-laptop
# labels:
#   site: home
# signaling:
#   - wss://signal.example.org
# iceServers:
#   - urls: stun:stun.example.org
`;
