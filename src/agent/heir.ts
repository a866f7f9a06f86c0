import { connectSignaling, type SignalingTls } from "../drivers/signaling.ts";
import type { Successor } from "../drivers/state/successor.ts";
import { createTokenVerifier } from "../drivers/tokens.ts";
import { StarlingError } from "../errors.ts";
import { encodeDecree } from "../proto/decrees/decree.ts";
import { MAX_TOKEN_LENGTH } from "../proto/limits.ts";
import type { Instant } from "../proto/machine.ts";
import { type Random, randomBytes } from "../proto/random.ts";
import { nameHeir } from "../proto/trust/heir.ts";
import { SCOPE_JOIN } from "../proto/trust/scopes.ts";
import { type Asker, askDesk } from "./ask-desk.ts";
import type { Issuing } from "./issuing.ts";
import type { Trust } from "./trust.ts";

/** How long one server gets, ms: a connection, an issuer's disk, and the way back. */
const ASK_MS = 15_000;

/** What finding an heir needs of an agent. */
export interface HeirOptions {
  readonly trust: Trust;
  readonly issuing: Issuing | undefined;
  readonly signaling: readonly string[];
  readonly signalingTls: SignalingTls | undefined;
  readonly random: Random;
  readonly now: () => Instant;
}

/**
 * A new node key, and a token for it on the terms of ours (`proto/trust/heir.ts`): from the issuer in this process, else from the first
 * that a signaling server leads to. Nothing has changed but that the issuer knows of it. Rejects with `issuer-unreachable`,
 * `issuer-refused`.
 */
export async function findHeir(options: HeirOptions): Promise<Successor> {
  const { trust, issuing, now } = options;
  const { crypto, cluster, token } = trust;
  if (token === undefined) throw new StarlingError("internal", "a member has a token");
  const seed = crypto.generateNodeKey();
  const identity = crypto.nodeIdentity(seed);
  const words = nameHeir(trust.identity, token.text, cluster.clusterId, identity.id, now());
  if (words.length > MAX_TOKEN_LENGTH) {
    throw new StarlingError("limit-reached", "this member's token is too long to be shown with an heir's name");
  }
  const heir: Asker = { id: identity.id, crypto, identity, box: crypto.boxKeyPair(), issuers: trust.issuers, cluster };
  const issued = (await issuedHere(issuing, words, heir, now())) ?? (await issuedByServers(options, words, heir));
  const expected = { issuers: trust.issuers, clusterId: cluster.clusterId, now: now() };
  const checked = await createTokenVerifier().verifyMemberToken(issued.token, {
    ...expected,
    expectedSubject: identity.id,
    requiredScope: SCOPE_JOIN,
  });
  if (!checked.ok)
    throw new StarlingError("token-invalid", `the token that was issued does not hold: ${checked.fault}`);
  return { former: trust.id, id: identity.id, seed, ...issued };
}

/** An heir's first token names no refresh key; the first renewal brings one. */
const FIRST = { show: async (words: string): Promise<string> => words };

type Issued = Pick<Successor, "token" | "revocation">;

async function issuedHere(
  issuing: Issuing | undefined,
  words: string,
  heir: Asker,
  now: Instant,
): Promise<Issued | undefined> {
  const issued = await issuing?.issuer.admit(words, heir.id, now);
  if (!issued?.ok) return undefined;
  return { token: issued.token, ...(issued.retires && { revocation: encodeDecree(issued.retires) }) };
}

async function issuedByServers(options: HeirOptions, words: string, heir: Asker): Promise<Issued> {
  let why = "this agent has no signaling server";
  let isRefused = false;
  for (const url of options.signaling) {
    const answer = await issuedBy(url, options, words, heir);
    if ("token" in answer) return answer;
    why = `${url}: ${answer.why}`;
    isRefused ||= answer.isRefused;
  }
  throw new StarlingError(
    isRefused ? "issuer-refused" : "issuer-unreachable",
    `no issuer gives a new key a token; ${why}`,
  );
}

/** Asks as a newcomer with this key would, and is gone again. */
async function issuedBy(
  url: string,
  { random, now, signalingTls, trust }: HeirOptions,
  words: string,
  heir: Asker,
): Promise<Issued | { readonly why: string; readonly isRefused: boolean }> {
  const answered = Promise.withResolvers<Issued | { readonly why: string; readonly isRefused: boolean }>();
  const connection = connectSignaling(
    {
      url,
      peer: heir.id,
      cluster: trust.cluster.clusterId,
      run: { instance: randomBytes(random, 16), startedAt: now() },
      credential: { kind: "join", token: words },
      keys: {
        sign: (label, body) => heir.identity.sign(label, body),
        verify: (statement) => trust.crypto.verify(statement),
        askDesk: (token, desks) =>
          askDesk({ trust: heir, refresh: FIRST }, token, desks, now(), (answer) => {
            if (!answer.ok) answered.resolve({ why: answer.detail, isRefused: true });
            else answered.resolve({ token: answer.token, ...(answer.retires && { revocation: answer.retires }) });
          }),
      },
      random,
      now,
      ...(signalingTls && { tls: signalingTls }),
    },
    (event) => {
      if (event.type === "stopped") answered.resolve({ why: event.detail, isRefused: true });
      if (event.type === "offline") answered.resolve({ why: event.detail, isRefused: false });
    },
  );
  const giveUp = setTimeout(() => answered.resolve({ why: "no answer in time", isRefused: false }), ASK_MS);
  try {
    return await answered.promise;
  } finally {
    clearTimeout(giveUp);
    await connection.close();
  }
}
