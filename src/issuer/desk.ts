import { encodeDecree } from "../proto/decrees/decree.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import type { Crypto } from "../proto/trust/crypto.ts";
import { type ExchangeAnswer, openRequest, sealAnswer } from "../proto/trust/exchange.ts";
import { readShowing } from "../proto/trust/showing.ts";
import type { Issuer } from "./issuer.ts";
import type { IssuedMember } from "./mint.ts";
import { refusalOf } from "./refusals.ts";

/**
 * An issuer's desk (`proto/trust/desk.ts`): answers sealed requests, whoever carries them. A signaling server with an issuing key has
 * one for the newcomers that connect to it, a member with an issuing key has one at every server that it is logged in to.
 */
export interface IssuerDesk {
  /** The signed desk, as it travels, of each issuing key whose join tokens are exchanged here: the one in use first. */
  readonly desks: readonly { readonly kid: string; readonly encoded: Uint8Array }[];
  /**
   * The sealed answer, once the use that it spends is on the disk; undefined for bytes that are no request for this desk, and
   * while it is overrun or its disk fails. Never rejects.
   */
  answer(sealed: Uint8Array): Promise<Uint8Array | undefined>;
}

/** Requests in hand at a time; each waits for the disk at most. Further ones are left without an answer. */
const MAX_IN_HAND = 256;

/** Opens the desk of `issuer`, under an X25519 key of this start. `holder`: the member that it belongs to; undefined for a server. */
export function openDesk(options: {
  readonly issuer: Issuer;
  readonly clusterId: string;
  readonly holder: PeerId | undefined;
  readonly crypto: Crypto;
  readonly now: () => Instant;
}): IssuerDesk {
  const { issuer, clusterId, holder, crypto, now } = options;
  const box = crypto.boxKeyPair();
  let inHand = 0;

  const serve = async (sealed: Uint8Array): Promise<Uint8Array | undefined> => {
    const request = openRequest(crypto, box, clusterId, sealed);
    if (request === undefined || !crypto.verify(request.statement)) return undefined;
    const { asker, token, replyKey } = request;
    const at = now();
    const issued = await issuedFor(issuer, token, asker, at);
    return sealAnswer(crypto, box, replyKey, answerOf(issued, at));
  };

  return {
    get desks() {
      return issuer.kids.map((kid) => ({ kid, encoded: issuer.signDesk({ kid, holder, boxKey: box.publicKey }) }));
    },
    async answer(sealed) {
      if (inHand >= MAX_IN_HAND) return undefined;
      inHand++;
      try {
        return await serve(sealed);
      } catch {
        // The disk has failed, and the journal says so to whoever opens the issuer again; the asker takes another, or waits.
        return undefined;
      } finally {
        inHand--;
      }
    },
  };
}

/** What an issuer's answer is in the words of signaling. */
export function answerOf(issued: IssuedMember, at: Instant): ExchangeAnswer {
  if (!issued.ok) return { ok: false, ...refusalOf(issued.fault, at) };
  const { token, retires } = issued;
  return { ok: true, token, ...(retires && { retires: encodeDecree(retires) }) };
}

/** What is no token of the cluster may be another way in; a join token has no subject. Each is then read by its own function. */
function issuedFor(issuer: Issuer, shown: string, asker: PeerId, at: Instant): Promise<IssuedMember> {
  const compact = parseCompact(readShowing(shown)?.credential ?? "");
  if (!compact.ok) return issuer.admit(shown, asker, at);
  return "sub" in compact.token.payload ? issuer.renew(shown, asker, at) : issuer.exchange(shown, asker, at);
}
