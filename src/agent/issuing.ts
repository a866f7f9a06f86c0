import type { AuditLog } from "../audit.ts";
import { StarlingError } from "../errors.ts";
import { audited } from "../issuer/audited.ts";
import { type IssuerDesk, openDesk } from "../issuer/desk.ts";
import { type Issuer, openIssuer } from "../issuer/issuer.ts";
import { refusalOf } from "../issuer/refusals.ts";
import { fromUtf8, utf8 } from "../proto/bytes.ts";
import { MAX_TOKEN_LENGTH } from "../proto/limits.ts";
import type { Instant } from "../proto/machine.ts";
import type { Label } from "../proto/membership/record.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { type IssuerList, issuerOf } from "../proto/trust/issuers.ts";
import type { Lineage } from "../proto/trust/lineage.ts";
import { MAX_SHOWING_LENGTH } from "../proto/trust/showing.ts";
import { decode, encode } from "../proto/wire/codec.ts";
import { integer, text, tuple } from "../proto/wire/shape.ts";
import type { MemberInfo } from "./events.ts";
import type { FaultLog } from "./fault-log.ts";
import type { Governance } from "./governance.ts";
import type { Services } from "./services.ts";
import type { MeshStream } from "./stream.ts";
import type { Trust } from "./trust.ts";

/**
 * A member that is an issuer: it answers the sealed requests of newcomers at its desk, which signaling servers hand it, and renews
 * the tokens of members over their links.
 *
 * Members find it by a label in its record. The label is a hint that anybody could write: what an issuer answers with is a token,
 * which holds by its signature or not at all.
 */

/** The protocol of renewals: one message there, the token as it is shown (`trust/showing.ts`); one back, a token or why not. */
export const ISSUER_PROTOCOL = "starling/issuer/1";
/** The label by which an issuer is found; its value names the issuing key. */
export const ISSUER_LABEL = "starling.issuer";

/** How long an issuer that was chosen gets, ms: a dial, a disk, and the way back. */
const ANSWER_MS = 15_000;
/** Issuers asked for one renewal before it waits for the next time. */
const MAX_ISSUERS_ASKED = 4;

/** The issuer in this process. */
export interface Issuing extends AsyncDisposable {
  readonly issuer: Issuer;
  readonly desk: IssuerDesk;
  /** Serves the other members on {@link ISSUER_PROTOCOL}, and newcomers at the desk that servers hand out. */
  begin(member: IssuingMember): void;
}

/** What an issuer uses of the member that it is. */
interface IssuingMember {
  readonly services: Pick<Services, "provide">;
  readonly servers: { desk(desk: Uint8Array): void };
  readonly government: { readonly governance: Pick<Governance, "take"> };
  readonly faults: Pick<FaultLog, "report">;
  /** Where the token that a member shows everybody stands in its line. */
  newestOf(peer: PeerId): Lineage | undefined;
  /** Another key is in use. */
  relabel(kid: string): void;
}

/** Opens the issuer of `keyFile` as member `trust.id`. Rejects as `openIssuer` does. */
export async function openIssuing(
  keyFile: string,
  trust: Trust,
  now: () => Instant,
  audit: AuditLog,
): Promise<Issuing> {
  const { crypto, cluster } = trust;
  const { clusterId } = cluster;
  let member: IssuingMember | undefined;
  const issuer = audited(
    await openIssuer({
      keyFile,
      clusterId,
      issuers: () => trust.issuers,
      voids: (token) => trust.decrees.voids(token),
      rekeyed: () => {
        present();
        member?.relabel(issuer.kid);
      },
      newestOf: (subject) => member?.newestOf(subject),
      reused: ({ subject, revocation }) => {
        member?.faults.report(subject, "refresh-reused");
        if (revocation !== undefined) void member?.government.governance.take(revocation);
      },
      retired: (revocation) => void member?.government.governance.take(revocation),
      crypto,
    }),
    audit,
  );
  if (issuerOf(trust.issuers, issuer.kid) === undefined) {
    await issuer.close();
    throw new StarlingError("issuer-refused", `the cluster's list of issuers does not name the key in ${keyFile}`);
  }
  const desk = openDesk({ issuer, clusterId, holder: trust.id, crypto, now });
  // A member has one desk at a server: that of the key in use.
  const present = (): void => member?.servers.desk((desk.desks[0] as { readonly encoded: Uint8Array }).encoded);
  const serve = async (stream: MeshStream, from: PeerId): Promise<void> => {
    for await (const message of stream) {
      const shown = message.length <= MAX_SHOWING_LENGTH ? fromUtf8(message) : undefined;
      const at = now();
      const issued = shown === undefined ? undefined : await issuer.renew(shown, from, at);
      if (issued === undefined) break;
      await stream.send(encode(issued.ok ? [1, issued.token] : [0, refusalOf(issued.fault, at).detail]));
      break;
    }
    stream.end();
  };
  return {
    issuer,
    desk,
    begin(of) {
      member = of;
      of.services.provide(ISSUER_PROTOCOL, serve);
      present();
    },
    [Symbol.asyncDispose]: () => issuer.close(),
  };
}

/** `labels` with the one that says which issuing key this member holds, in order. */
export function withIssuerLabel(labels: readonly Label[], kid: string): readonly Label[] {
  const others = labels.filter(([key]) => key !== ISSUER_LABEL);
  return [...others, [ISSUER_LABEL, kid] as const].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Members that say that they hold a key of the list, those that `isLinked` first. */
export function issuersAmong(
  members: readonly MemberInfo[],
  list: IssuerList,
  isLinked: (peer: PeerId) => boolean,
): PeerId[] {
  const found = members.filter(({ state, labels }) => {
    const kid = labels[ISSUER_LABEL];
    return state === "alive" && kid !== undefined && issuerOf(list, kid) !== undefined;
  });
  const linked = (id: PeerId): number => (isLinked(id) ? 0 : 1);
  return found.map(({ id }) => id).sort((a, b) => linked(a) - linked(b));
}

/** A renewal of the token in `shown` at `issuing`, the issuer in this process, by `asker`, its own member; undefined where there is none. */
export async function renewHere(issuing: Issuing | undefined, shown: string, asker: PeerId, now: Instant) {
  const renewed = await issuing?.issuer.renew(shown, asker, now);
  return renewed?.ok ? renewed.token : undefined;
}

/** A renewal of the token in `shown` by the first of `issuers` that gives one, unchecked; why not, for people, otherwise. Never rejects. */
export async function renewAt(
  issuers: readonly PeerId[],
  shown: string,
  open: (peer: PeerId, signal: AbortSignal) => Promise<MeshStream>,
): Promise<{ readonly token: string } | { readonly why: string }> {
  let why = "no member that holds an issuing key is known";
  for (const peer of issuers.slice(0, MAX_ISSUERS_ASKED)) {
    const signal = AbortSignal.timeout(ANSWER_MS);
    try {
      const stream = await open(peer, signal);
      const answer = await answerOn(stream, shown, signal);
      if ("token" in answer) return answer;
      why = `${peer}: ${answer.why}`;
    } catch (error) {
      why = `${peer}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return { why };
}

async function answerOn(
  stream: MeshStream,
  shown: string,
  signal: AbortSignal,
): Promise<{ readonly token: string } | { readonly why: string }> {
  const giveUp = (): void => stream.reset();
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    await stream.send(utf8(shown));
    stream.end();
    for await (const message of stream) return parseAnswer(message);
    return { why: "it said nothing" };
  } finally {
    signal.removeEventListener("abort", giveUp);
    stream.reset();
  }
}

function parseAnswer(message: Uint8Array): { readonly token: string } | { readonly why: string } {
  const decoded = decode(message, { depth: 1, items: 3 });
  const fields = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const kind = integer(fields?.[0], 0, 1);
  const value = text(fields?.[1], MAX_TOKEN_LENGTH);
  if (kind === undefined || value === undefined) return { why: "its answer cannot be read" };
  return kind === 1 ? { token: value } : { why: value };
}
