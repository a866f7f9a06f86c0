import type { PeerId } from "../proto/peer-id.ts";
import { type Keychain, keyName } from "../proto/trust/keychain.ts";
import { decode, encode } from "../proto/wire/codec.ts";
import { integer, list, text, tuple } from "../proto/wire/shape.ts";
import type { MemberInfo } from "./events.ts";
import type { MeshStream } from "./stream.ts";

/** Which secrets each member uses, by their names: what `starling keys list` counts, and a rotation waits for. */

/** The protocol: a stream is opened, and one message comes back: epoch, epochs of cluster keys, names of gossip keys. */
export const KEYS_PROTOCOL = "starling/keys/1";

/** How long a member gets to answer, ms: a dial and the way back. */
const ANSWER_MS = 10_000;
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
}

/** What this member holds. */
export function keysOf(peer: PeerId, { secrets }: Pick<Keychain, "secrets">): KeysOfMember {
  const clusterEpochs = secrets.clusterKeys.map(({ epoch }) => epoch);
  return { peer, epoch: secrets.epoch, clusterEpochs, gossip: secrets.keyring.map(keyName) };
}

/** Answers one stream of {@link KEYS_PROTOCOL}. */
export async function serveKeys(stream: MeshStream, self: PeerId, keychain: Keychain): Promise<void> {
  const { epoch, clusterEpochs, gossip } = keysOf(self, keychain);
  await stream.send(encode([epoch, clusterEpochs, gossip]));
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
  const fields = decoded.ok ? tuple(decoded.value, 3) : undefined;
  const epoch = integer(fields?.[0], 1, 0xffff_ffff);
  const clusterEpochs = list(fields?.[1], 8, (item) => integer(item, 1, 0xffff_ffff));
  const gossip = list(fields?.[2], 16, (item) => text(item, 8));
  return epoch === undefined || clusterEpochs === undefined || gossip === undefined
    ? undefined
    : { peer, epoch, clusterEpochs, gossip };
}
