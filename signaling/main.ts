import { type AuditLog, NO_AUDIT } from "../src/audit.ts";
import { systemClock } from "../src/drivers/clock.ts";
import { nodeCrypto } from "../src/drivers/crypto.ts";
import { systemRandom } from "../src/drivers/entropy.ts";
import { KeyNotice } from "../src/host/key-notice.ts";
import { Timers } from "../src/host/timers.ts";
import { audited } from "../src/issuer/audited.ts";
import { decreesOf } from "../src/issuer/decrees-of.ts";
import { openDesk } from "../src/issuer/desk.ts";
import { type IssuerOptions, openIssuer } from "../src/issuer/issuer.ts";
import { issuersOf } from "../src/issuer/mint.ts";
import type { WayIn } from "../src/issuer/ways-in.ts";
import type { Logger } from "../src/options.ts";
import { encodeDecree, type SignedDecree } from "../src/proto/decrees/decree.ts";
import type { RevocationTarget } from "../src/proto/decrees/revocation.ts";
import type { Cluster } from "../src/proto/trust/cluster.ts";
import type { IssuerList } from "../src/proto/trust/issuers.ts";
import { keySetOf } from "../src/proto/trust/jwks.ts";
import { type KeyEnd, keyEndOf } from "../src/proto/trust/key-end.ts";
import { auditedAuthority } from "./audited-authority.ts";
import { clusterAuthority } from "./authority.ts";
import { type TurnOptions, turnGrants } from "./grants.ts";
import type { RoomsLimits } from "./proto/limits.ts";
import { type SignalingServer, startSignalingServer } from "./server.ts";
import { type TicketKey, TicketKeys } from "./ticket-keys.ts";
import { TicketOffice } from "./ticket-office.ts";
import type { TlsFiles } from "./tls.ts";

export interface SignalingServiceOptions {
  readonly cluster: Cluster;
  readonly listen: { readonly host: string; readonly port: number };
  /** Names by which agents' URLs call this server; default: its addresses. */
  readonly names?: readonly string[];
  /** The certificate, for `wss://`. */
  readonly tls?: TlsFiles;
  /** Bounds other than the default ones. */
  readonly limits?: Partial<RoomsLimits>;
  /** The file of an issuing key: the server then exchanges join tokens and renews. */
  readonly issuingKeyFile?: string;
  /** What its issuer takes in the place of a join token, given the cluster. Default: nothing. */
  readonly waysIn?: readonly WayIn[];
  /** What the server did and refused is written down there. Closing the server does not close it. Default: nowhere. */
  readonly audit?: AuditLog;
  /** STUN and TURN servers that members are granted. Default: none. */
  readonly turn?: TurnOptions;
  readonly log: Logger;
  /** Encoded decrees that were kept; each is checked again. Default: none. */
  readonly decrees?: readonly Uint8Array[];
  /** Keeps all that are in force, when some have come. */
  readonly keep?: (decrees: readonly Uint8Array[]) => void;
  /** Keys of tickets that were kept, the newest first, and what keeps them when there is another. Default: those of this process alone. */
  readonly ticketKeys?: {
    readonly kept: readonly TicketKey[];
    readonly keep: (keys: readonly TicketKey[]) => Promise<void> | void;
  };
}

/** A signaling server, and what it knows of its cluster's trust. */
export interface SignalingService extends SignalingServer {
  /** The issuing key whose end matters here; undefined where all are revoked. */
  keyEnd(): KeyEnd | undefined;
  /** Revocations in force, by what they are of. */
  revocations(): Readonly<Record<RevocationTarget["of"], number>>;
}

/** Starts a signaling server for one cluster, an issuer too where it has the key. Closing it closes both. */
export async function startSignalingService(options: SignalingServiceOptions): Promise<SignalingService> {
  const { cluster, listen, names, tls, issuingKeyFile: keyFile, log, audit = NO_AUDIT, waysIn = [] } = options;
  const crypto = nodeCrypto();
  const now = systemClock();
  const { kept = [], keep: keepKeys = () => undefined } = options.ticketKeys ?? {};
  const ticketKeys = new TicketKeys(kept, keepKeys);
  await ticketKeys.prepare(now());
  const tickets = new TicketOffice(ticketKeys, crypto);
  const grants = options.turn && (await turnGrants(options.turn, log));
  const decrees = decreesOf(cluster, options.decrees ?? [], crypto, now());
  const issuers = (): IssuerList => decrees.issuers?.list ?? issuersOf(cluster, crypto);
  let server: SignalingServer | undefined;
  const rekeyed = (): void => server?.renewDesks();
  const keep = (): void => options.keep?.(Array.from(decrees.encoded(), ({ bytes }) => bytes));
  const retired = (revocation: SignedDecree): void => {
    if (decrees.accept(revocation, now()).outcome !== "news") return;
    keep();
    server?.proclaim({
      cluster: cluster.clusterId,
      decreed: [encodeDecree(revocation)],
      voids: ({ peer, names }) => decrees.voids({ subject: peer, ...names }),
    });
  };
  const voids: IssuerOptions["voids"] = (token) => decrees.voids(token);
  const reused: IssuerOptions["reused"] = ({ family, revocation }) => {
    if (revocation !== undefined) decrees.accept(revocation, now());
    keep();
    // Whoever asked is answered first: it is told why before its session ends.
    setImmediate(() => {
      server?.proclaim({
        cluster: cluster.clusterId,
        decreed: revocation === undefined ? [] : [encodeDecree(revocation)],
        voids: ({ names }) => names !== undefined && (names.lineage?.family ?? names.id) === family,
      });
    });
  };
  const { clusterId } = cluster;
  const issuer =
    keyFile === undefined
      ? undefined
      : audited(
          await openIssuer({ keyFile, clusterId, issuers, voids, reused, crypto, waysIn, rekeyed, retired }),
          audit,
        );
  const issuing = issuer && { issuer, desk: openDesk({ issuer, clusterId, holder: undefined, crypto, now }) };
  try {
    const started = await startSignalingServer({
      listen,
      authority: auditedAuthority(
        clusterAuthority({
          cluster,
          crypto,
          now,
          decrees,
          keep,
          tickets,
          ...(issuing && { issuing }),
        }),
        audit,
      ),
      random: systemRandom(),
      now,
      logger: log,
      ...(names && { names }),
      ...(tls && { tls }),
      ...(options.limits && { limits: options.limits }),
      ...(grants && { grants }),
      keySet: () => JSON.stringify(keySetOf(issuers(), (token) => decrees.voids(token), now())),
    });
    server = started;
    const keyEnd = () => keyEndOf(issuers(), (token) => decrees.voids(token), issuer?.kid);
    const timers = new Timers();
    new KeyNotice({ end: keyEnd, now, later: timers.later, log, tell: () => undefined }).begin();
    const close = started.close.bind(started);
    const closeBoth = async (): Promise<void> => {
      timers.stop();
      grants?.stop();
      await close();
      await issuer?.close();
    };
    const revocations = () => decrees.countRevocations();
    return Object.assign(started, { keyEnd, revocations, close: closeBoth, [Symbol.asyncDispose]: closeBoth });
  } catch (error) {
    grants?.stop();
    await issuer?.close();
    throw error;
  }
}
