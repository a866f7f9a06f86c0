import type { PeerId } from "../proto/peer-id.ts";
import { kidOf } from "../proto/trust/issuers.ts";
import { keyName } from "../proto/trust/keychain.ts";
import { decode, encode } from "../proto/wire/codec.ts";
import { integer, list, text, tuple } from "../proto/wire/shape.ts";
import type { MemberInfo } from "./events.ts";
import type { MeshStream } from "./stream.ts";
import type { Trust } from "./trust.ts";

/** Which keys each member goes by, by their names: what `starling keys list` counts, and a rotation waits for. */

/**
 * The protocol: a stream is opened, and one message comes back: epoch, epochs of cluster keys, names of gossip keys, name of the
 * newest root, version of the list of issuing keys, name of the key that signed the member's token.
 */
export const KEYS_PROTOCOL = "starling/keys/1";

/** How long a member gets to answer, ms: a dial and the way back. */
const ANSWER_MS = 10_000;
const KID_LENGTH = 16;
/** Members asked at a time. */
const ASKED_AT_ONCE = 16;

/** What one member holds. */
export interface KeysOfMember {
  readonly peer: PeerId;
  /** The rotation that its secrets are of. */
  readonly epoch: number;
  /** Epochs of the cluster keys that it accepts, the one that it proves itself by first. */
  readonly clusterEpochs: readonly number[];
  /** Names of its gossip keys, the one that it seals under first. */
  readonly gossip: readonly string[];
  /** The newest root that it knows, by its name (`kidOf`). */
  readonly root: string;
  /** The version of the list of issuing keys that it goes by. */
  readonly issuers: number;
  /** The issuing key of its token, by its name; empty where it has none. */
  readonly issuedBy: string;
}

/** What this member holds. */
export function keysOf({ id, keychain, decrees, issuers, token }: Trust): KeysOfMember {
  const { epoch, clusterKeys, keyring } = keychain.secrets;
  return {
    peer: id,
    epoch,
    clusterEpochs: clusterKeys.map((key) => key.epoch),
    gossip: keyring.map(keyName),
    root: kidOf(decrees.root),
    issuers: issuers.version,
    issuedBy: token?.facts.kid ?? "",
  };
}

/** Answers one stream of {@link KEYS_PROTOCOL}. */
export async function serveKeys(stream: MeshStream, trust: Trust): Promise<void> {
  const { epoch, clusterEpochs, gossip, root, issuers, issuedBy } = keysOf(trust);
  await stream.send(encode([epoch, clusterEpochs, gossip, root, issuers, issuedBy]));
  stream.end();
}

/** Asks the other members that are alive; those that do not answer are left out. Never rejects. */
export async function takeCensus(
  members: readonly Pick<MemberInfo, "id" | "state">[],
  self: PeerId,
  open: (peer: PeerId, signal: AbortSignal) => Promise<MeshStream>,
): Promise<KeysOfMember[]> {
  const answers: KeysOfMember[] = [];
  const waiting = members.filter(({ id, state }) => state === "alive" && id !== self).map(({ id }) => id);
  const worker = async (): Promise<void> => {
    for (let peer = waiting.pop(); peer !== undefined; peer = waiting.pop()) {
      const answer = await askKeys(peer, open).catch(() => undefined);
      if (answer) answers.push(answer);
    }
  };
  await Promise.all(Array.from({ length: Math.min(ASKED_AT_ONCE, waiting.length) }, worker));
  return answers;
}

async function askKeys(
  peer: PeerId,
  open: (peer: PeerId, signal: AbortSignal) => Promise<MeshStream>,
): Promise<KeysOfMember | undefined> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const stream = await open(peer, signal);
  const giveUp = (): void => stream.reset();
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    stream.end();
    for await (const message of stream) return parseKeys(peer, message);
    return undefined;
  } finally {
    signal.removeEventListener("abort", giveUp);
    stream.reset();
  }
}

function parseKeys(peer: PeerId, message: Uint8Array): KeysOfMember | undefined {
  const decoded = decode(message, { depth: 2, items: 32 });
  const fields = decoded.ok ? tuple(decoded.value, 6) : undefined;
  const epoch = integer(fields?.[0], 1, 0xffff_ffff);
  const clusterEpochs = list(fields?.[1], 8, (item) => integer(item, 1, 0xffff_ffff));
  const gossip = list(fields?.[2], 16, (item) => text(item, 8));
  const root = text(fields?.[3], KID_LENGTH);
  const issuers = integer(fields?.[4], 1);
  const issuedBy = text(fields?.[5], KID_LENGTH);
  if (epoch === undefined || clusterEpochs === undefined || gossip === undefined) return undefined;
  if (root === undefined || issuers === undefined || issuedBy === undefined) return undefined;
  return { peer, epoch, clusterEpochs, gossip, root, issuers, issuedBy };
}
