import { gossipSeal } from "../drivers/gossip-seal.ts";
import type { MeshOptions } from "../proto/mesh.ts";
import type { Rule } from "../proto/rule.ts";
import type { Connections } from "./connections.ts";
import type { Preparation } from "./prepare.ts";
import type { HeldToken, Trust } from "./trust.ts";

/** With what the mesh of an agent begins, once it holds a token. */
export function meshOptionsOf(
  { trust, state, name, labels, random }: Preparation,
  { text, facts }: HeldToken,
  connections: Connections,
): MeshOptions {
  const protocols = { least: 1, most: 1 };
  return {
    self: trust.id,
    boot: state.bootCount,
    profile: { name, labels, protocols, exchangeKey: trust.box.publicKey, capacity: 100 },
    token: { token: text, facts },
    random,
    rule: ruleOf(trust, connections),
  };
}

/**
 * By what an agent lives: the decrees and secrets of its trust, and boxes between it and the peers of its links, by the X25519 keys
 * that both have proved at admission.
 */
function ruleOf(trust: Trust, connections: Connections): Rule {
  const { decrees, keychain, crypto, box } = trust;
  return {
    decrees,
    keychain,
    seal: gossipSeal(keychain),
    box: {
      seal(peer, plain) {
        const link = connections.link(peer);
        return link && crypto.seal(plain, link.peer.boxKey, box.secretKey);
      },
      open(peer, sealed) {
        const link = connections.link(peer);
        return link && crypto.open(sealed, link.peer.boxKey, box.secretKey);
      },
    },
  };
}
