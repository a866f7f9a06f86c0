import { DecreeSet } from "./decrees/decree-set.ts";
import type { SecretsBox } from "./decrees/effects.ts";
import type { Topic } from "./gossip/messages.ts";
import type { Instant } from "./machine.ts";
import { Keychain } from "./trust/keychain.ts";

/** By what a member lives: the cluster's decrees and secrets, which its host holds too. */
export interface Rule {
  readonly decrees: DecreeSet;
  readonly keychain: Keychain;
  readonly box: SecretsBox;
  /** Seals what is broadcast. Absent: it travels open. */
  readonly seal?: BroadcastSeal;
}

/** Seals broadcast payloads under the keyring, the same for the same payload, so that two who say the same make one broadcast. */
export interface BroadcastSeal {
  seal(topic: Topic, payload: Uint8Array, now: Instant): Uint8Array;
  /** The payload; why not: sealed under a key that we do not have, or by nobody who has it. */
  open(topic: Topic, sealed: Uint8Array): Uint8Array | "unknown-key" | "forged";
}

/** The rule of a cluster that has nobody to decree anything, and secrets that nobody ever changes. */
export function unruled(): Rule {
  const nothing = new Uint8Array(32);
  return {
    decrees: new DecreeSet(nothing, () => false),
    keychain: new Keychain({ clusterKeys: [{ epoch: 1, key: nothing }], keyring: [nothing] }),
    box: { seal: (_peer, plain) => plain, open: (_peer, sealed) => sealed },
  };
}
