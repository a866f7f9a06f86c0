/**
 * What a state directory keeps of the cluster, in three files: `cluster.json` for people to read, `cluster.key` with the
 * secret that only members share (a line `EPOCH BASE64` for each epoch, newest first, those before with their end in Unix ms), `keyring` with the keys of gossip
 * (a line each, the one in use first). All have mode 0600, since the JSON may hold a TURN credential; the two with keys may be sealed.
 */
import { join } from "node:path";
import { z } from "zod";
import { assert } from "../../proto/assert.ts";
import { base64, fromBase64 } from "../../proto/base64.ts";
import type { IceServer } from "../../proto/negotiation/rtc.ts";
import {
  type Cluster,
  type ClusterKey,
  isClusterName,
  isIceUrl,
  isSignalingUrl,
  MAX_CLUSTER_KEYS,
  MAX_ICE_SERVERS,
  MAX_ICE_TEXT_LENGTH,
  MAX_ICE_URLS,
  MAX_KEYRING,
  MAX_SIGNALING_URLS,
} from "../../proto/trust/cluster.ts";
import { clusterIdOf } from "../../proto/trust/cluster-id.ts";
import type { Crypto } from "../../proto/trust/crypto.ts";
import { acceptIssuers, decodeSignedIssuers, encodeSignedIssuers } from "../../proto/trust/issuers.ts";
import { refuseWeak } from "./key-file.ts";
import { corrupt, readPrivateText, writePrivate } from "./private-files.ts";
import { readSecretText, writeSecretText } from "./secret-text.ts";

export const CLUSTER_FILE = "cluster.json";
export const CLUSTER_KEY_FILE = "cluster.key";
export const KEYRING_FILE = "keyring";

/** Each of the three files, bytes: full lists of servers and issuers. */
const MAX_CLUSTER_FILE_BYTES = 131_072;

const secretText = z.string().max(MAX_ICE_TEXT_LENGTH).optional();
const iceUrl = z.string().refine(isIceUrl, "must start with stun:, stuns:, turn: or turns:");
const clusterSchema = z.strictObject({
  id: z.string(),
  name: z.string().refine(isClusterName, "must be 1 to 64 printable characters"),
  rootPublicKey: z.base64(),
  issuers: z.base64(),
  epoch: z.int().min(1).max(0xffff_ffff).optional(),
  signaling: z.array(z.string().refine(isSignalingUrl, "must start with ws:// or wss://")).max(MAX_SIGNALING_URLS),
  iceServers: z
    .array(
      z.strictObject({
        urls: z.array(iceUrl).min(1).max(MAX_ICE_URLS),
        username: secretText,
        credential: secretText,
      }),
    )
    .max(MAX_ICE_SERVERS),
});

/**
 * The cluster that `folder` belongs to; undefined when it belongs to none. The list of issuers in it is checked against the
 * root's key. Throws `state-corrupt`, `weak-key` or `key-file-permissions`.
 */
export async function readClusterFiles(folder: string, crypto: Crypto): Promise<Cluster | undefined> {
  const path = join(folder, CLUSTER_FILE);
  const text = await readPrivateText(path, MAX_CLUSTER_FILE_BYTES);
  if (text === undefined) return undefined;
  const { id, name, rootPublicKey: root, issuers: list, epoch, signaling, iceServers } = parseClusterJson(path, text);
  const rootPublicKey = fromBase64(root);
  const encoded = fromBase64(list);
  const issuers = encoded === undefined ? undefined : decodeSignedIssuers(encoded);
  if (rootPublicKey?.length !== 32) throw corrupt(path, "rootPublicKey is not a key");
  const clusterId = clusterIdOf(rootPublicKey);
  if (id !== clusterId) throw corrupt(path, "id does not belong to rootPublicKey");
  if (issuers === undefined || acceptIssuers(issuers, rootPublicKey, crypto.verifyAuthority) === undefined) {
    throw corrupt(path, "issuers is not a list that the root has signed");
  }
  const clusterKeys = await readClusterKeys(join(folder, CLUSTER_KEY_FILE));
  const keyring = await readKeyring(join(folder, KEYRING_FILE));
  const servers = iceServers.map(iceServerOf);
  const secrets = { ...(epoch !== undefined && { epoch }), clusterKeys, keyring };
  return { clusterId, name, rootPublicKey, issuers, ...secrets, signaling, iceServers: servers };
}

/** Keeps `cluster` in `folder`, whose list of issuers the caller has accepted. `cluster.json` is written last. */
export async function writeClusterFiles(folder: string, cluster: Cluster, crypto: Crypto): Promise<void> {
  const { clusterId, name, rootPublicKey, issuers, clusterKeys, keyring, signaling, iceServers } = cluster;
  const accepted = acceptIssuers(issuers, rootPublicKey, crypto.verifyAuthority);
  assert(accepted !== undefined && clusterId === clusterIdOf(rootPublicKey), "a cluster is checked before it is kept");
  const keyLines = clusterKeys.map(
    ({ epoch, key, until }) => `${[epoch, base64(key), ...(until === undefined ? [] : [until])].join(" ")}\n`,
  );
  await writeSecretText(join(folder, CLUSTER_KEY_FILE), keyLines.join(""));
  await writeSecretText(join(folder, KEYRING_FILE), keyring.map((key) => `${base64(key)}\n`).join(""));
  const json = {
    id: clusterId,
    name,
    rootPublicKey: base64(rootPublicKey),
    issuers: base64(encodeSignedIssuers(issuers)),
    ...(cluster.epoch !== undefined && { epoch: cluster.epoch }),
    signaling,
    iceServers: iceServers.map((server) => ({ ...server, urls: [server.urls].flat() })),
  };
  await writePrivate(join(folder, CLUSTER_FILE), `${JSON.stringify(json, undefined, 2)}\n`);
}

function parseClusterJson(path: string, text: string): z.infer<typeof clusterSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw corrupt(path, "it is not JSON");
  }
  const result = clusterSchema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw corrupt(path, `${issue?.path.join(".") || "the object"}: ${issue?.message ?? "is not valid"}`);
}

function iceServerOf(server: z.infer<typeof clusterSchema>["iceServers"][number]): IceServer {
  const { urls, username, credential } = server;
  return {
    urls,
    ...(username === undefined ? {} : { username }),
    ...(credential === undefined ? {} : { credential }),
  };
}

async function readClusterKeys(path: string): Promise<readonly ClusterKey[]> {
  const keys: ClusterKey[] = [];
  for (const line of await readLines(path, MAX_CLUSTER_KEYS)) {
    const match = /^([1-9]\d{0,9}) (\S+)(?: (\d{1,15}))?$/.exec(line);
    const epoch = Number(match?.[1]);
    const key = fromBase64(match?.[2] ?? "");
    const until = match?.[3];
    const previous = keys.at(-1)?.epoch ?? 2 ** 32;
    if (match === null || key === undefined || epoch >= previous) {
      throw corrupt(path, "a line is not EPOCH BASE64 [END], newest epoch first");
    }
    refuseWeak(path, key);
    keys.push({ epoch, key, ...(until !== undefined && { until: Number(until) }) });
  }
  return keys;
}

async function readKeyring(path: string): Promise<readonly Uint8Array[]> {
  const lines = await readLines(path, MAX_KEYRING);
  return lines.map((line) => {
    const key = fromBase64(line);
    if (key === undefined) throw corrupt(path, "a line is not a key in base64");
    refuseWeak(path, key);
    return key;
  });
}

async function readLines(path: string, most: number): Promise<readonly string[]> {
  const text = await readSecretText(path, MAX_CLUSTER_FILE_BYTES);
  if (text === undefined) throw corrupt(path, "it is missing");
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  if (lines.length === 0 || lines.length > most) throw corrupt(path, `it does not hold 1 to ${most} keys`);
  return lines;
}
