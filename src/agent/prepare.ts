import { join } from "node:path";
import type { KeptAuditLog } from "../audit.ts";
import { systemClock } from "../drivers/clock.ts";
import { nodeCrypto } from "../drivers/crypto.ts";
import { systemRandom } from "../drivers/entropy.ts";
import type { SignalingTls } from "../drivers/signaling.ts";
import { openAuditLog } from "../drivers/state/audit-log.ts";
import { AUDIT_FOLDER, openStateDirectory, type StateDirectory } from "../drivers/state-directory.ts";
import { createTokenVerifier } from "../drivers/tokens.ts";
import { type AgentOptions, defaultSettings, defaultStateDirectory, type Logger } from "../options.ts";
import type { Instant } from "../proto/machine.ts";
import type { Label } from "../proto/membership/record.ts";
import type { IceServer } from "../proto/negotiation/rtc.ts";
import type { Random } from "../proto/random.ts";
import type { HeldCredential } from "../proto/signaling/client-events.ts";
import { withAuditLabel } from "./audit-keeper.ts";
import { readInvite, settleCluster, settleCredential } from "./credential.ts";
import { FIRST_JOIN_MS } from "./first-join.ts";
import { type Issuing, openIssuing, withIssuerLabel } from "./issuing.ts";
import { outlawed } from "./outlawed.ts";
import type { NetworkOptions } from "./paths.ts";
import { RefreshKeys } from "./refresh-keys.ts";
import { openRelaying, type Relaying, withRelayLabel } from "./relaying.ts";
import { readSignalingTls } from "./signaling-tls.ts";
import { openStacks, type Stacks } from "./stacks.ts";
import { openStorage, type Storage } from "./storage.ts";
import { Trust } from "./trust.ts";

/** Everything that an agent stands on, opened and checked. */
export interface Preparation {
  readonly state: StateDirectory;
  readonly trust: Trust;
  readonly refresh: RefreshKeys;
  readonly credential: HeldCredential;
  /** The issuer that this member is. */
  readonly issuing: Issuing | undefined;
  /** The relay that this member is. */
  readonly relaying: Relaying | undefined;
  readonly stacks: Stacks;
  readonly signaling: readonly string[];
  readonly signalingTls: SignalingTls | undefined;
  readonly iceServers: readonly IceServer[];
  readonly network: NetworkOptions;
  readonly name: string;
  readonly labels: readonly Label[];
  /** Records of members from an earlier life. */
  readonly remembered: readonly Uint8Array[];
  /** The values, as an earlier life has left them. */
  readonly storage: Storage;
  /** How long a first join may take, ms. */
  readonly joinTimeoutMs: number;
  readonly progress: (line: string) => void;
  readonly random: Random;
  readonly now: () => Instant;
  readonly log: Logger;
  readonly audit: KeptAuditLog;
  /** How many members are to keep a copy of it, and whether this one keeps those of others. */
  readonly auditCopies: number;
  readonly keepAudit: boolean;
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Opens the state directory, settles cluster and credential, loads the WebRTC stack; undoes it all when something fails. */
export async function prepare(options: AgentOptions): Promise<Preparation> {
  const crypto = nodeCrypto();
  const now = systemClock();
  // Read before anything is opened: a bad paste should cost nothing.
  const invite = options.invite === undefined ? undefined : readInvite(options.invite);
  const signalingTls = options.signalingTls && (await readSignalingTls(options.signalingTls));
  const state = await openStateDirectory(options.stateDirectory ?? defaultStateDirectory(), crypto);
  const identity = crypto.nodeIdentity(state.nodeKey.seed);
  const log = options.logger ?? SILENT;
  let issuing: Issuing | undefined;
  let audit: KeptAuditLog | undefined;
  let storage: Storage | undefined;
  let relaying: Relaying | undefined;
  try {
    const cluster = await settleCluster(state, invite, crypto);
    audit = await openAuditLog({ folder: join(state.path, AUDIT_FOLDER), owner: identity, crypto, now, log });
    const decrees = await state.readDecrees();
    const trust = new Trust({ identity, crypto, cluster, decrees, verifier: createTokenVerifier(), now });
    if (trust.decrees.revokedSince(trust.id) !== undefined) throw outlawed(state.path);
    const refresh = await RefreshKeys.open(state.path, trust, now);
    issuing = options.issuingKey === undefined ? undefined : await openIssuing(options.issuingKey, trust, now, audit);
    const credential = await settleCredential({
      state,
      trust,
      crypto,
      invite,
      credential: options.credential,
      mint: issuing?.issuer,
      refresh,
      now: now(),
    });
    relaying = options.relay === undefined ? undefined : await openRelaying(options.relay, systemRandom(), now);
    const labels = Object.entries(options.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    const signaling = options.signaling ?? cluster.signaling;
    const remembered = await state.readMembers();
    storage = await openStorage({
      kind: options.store ?? "sqlite",
      directory: state.path,
      passphrase: options.storePassphrase,
      hasReplicas: remembered.length > 0,
      log,
    });
    return {
      state,
      trust,
      refresh,
      credential,
      issuing,
      stacks: await openStacks(options.rtc ?? "auto"),
      signaling,
      signalingTls,
      iceServers: options.iceServers ?? cluster.iceServers,
      network: {
        extraAddresses: wantsLoopback(options.loopback ?? "auto", signaling) ? ["127.0.0.1"] : [],
        skipInterfaces: options.skipInterfaces,
        portRange: options.portRange,
        announce: options.announce ?? [],
        localNames: options.localNames ?? false,
      },
      name: options.name ?? defaultSettings().name,
      labels: announced(options.keepAudit === true ? withAuditLabel(labels) : labels, issuing, relaying),
      relaying,
      remembered,
      storage,
      random: systemRandom(),
      now,
      joinTimeoutMs: options.joinTimeoutMs ?? FIRST_JOIN_MS,
      progress: options.onProgress ?? (() => undefined),
      log,
      audit,
      auditCopies: options.auditCopies ?? 0,
      keepAudit: options.keepAudit === true,
    };
  } catch (error) {
    await storage?.close();
    await relaying?.[Symbol.asyncDispose]();
    await issuing?.[Symbol.asyncDispose]();
    await audit?.close();
    await state.close();
    throw error;
  }
}

/** The labels that others find this member's services by, beside those that the operator gave. */
function announced(labels: readonly Label[], issuing?: Issuing, relaying?: Relaying): readonly Label[] {
  const issuer = issuing ? withIssuerLabel(labels, issuing.issuer.kid) : labels;
  return relaying ? withRelayLabel(issuer, relaying.address) : issuer;
}

/** A cluster whose front door is on this machine lives on this machine. */
function wantsLoopback(option: boolean | "auto", signaling: readonly string[]): boolean {
  if (option !== "auto") return option;
  return signaling.some((url) => /^wss?:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)/.test(url));
}
