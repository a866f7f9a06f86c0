/**
 * What an agent may be told. One schema serves `createAgent`, the configuration file and the command line, so that a
 * setting has the same name, bounds and default everywhere.
 */
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { StarlingError } from "./errors.ts";
import { MAX_LABEL_LENGTH, MAX_LABELS, MAX_NAME_LENGTH } from "./proto/limits.ts";
import { parseIceUrl } from "./proto/negotiation/ice-url.ts";
import type { IceServer } from "./proto/negotiation/rtc.ts";
import type { Rate } from "./proto/token-bucket.ts";
import { MAX_OWN_ROLES, roleFault } from "./proto/trust/roles.ts";
import type { RtcStack } from "./rtc.ts";

/** Where an agent's log lines go. Secrets are never in `fields`. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** See {@link AgentOptions.signalingTls}. */
export interface SignalingTlsFiles {
  /** Authorities to trust beside the system's. */
  readonly ca?: string;
  /** Our own certificate and its key, which nobody else may read. */
  readonly cert?: string;
  readonly key?: string;
}

/** A STUN and TURN server inside an agent, for the other members. */
export interface RelayOptions {
  /** `address:port` for UDP and TCP, of this machine. Default `0.0.0.0:3478`. */
  readonly listen?: string;
  /** The address by which others reach it, behind a one-to-one NAT. Default: the one that it listens on. */
  readonly publicAddress?: string;
  /** Ranges that it relays to although they are refused by default: loopback, private and the like. `address/bits`. */
  readonly allowPeers?: readonly string[];
  /** Allocations of one member at once. Default 32. */
  readonly allocationsPerMember?: number;
}

export interface AgentOptions {
  /** Keys, token, cluster and lock of this agent. Default: `$XDG_STATE_HOME/starling`. Two agents never share one. */
  readonly stateDirectory?: string;
  /** What `starling invite` printed; needed for the first start only. */
  readonly invite?: string;
  /**
   * What a newcomer shows an issuer in the place of the token that an invite has: an API key (`starling apikey create`), or
   * an ID token, see `oidcCredential`. Needed for the first start only, with an invite that has no token.
   */
  readonly credential?: string;
  /** Shown to people, never an identity. 1 to 64 characters. Default: the host's name. */
  readonly name?: string;
  /** At most 32, keys and values up to 128 characters. Gossiped to all members: never a secret. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Signaling servers, `ws://` or `wss://`. Default: those of the invite. */
  readonly signaling?: readonly string[];
  /** Files (PEM) for `wss://` servers with a private authority, or that ask for a client certificate. */
  readonly signalingTls?: SignalingTlsFiles;
  /** STUN and TURN servers. Default: those of the invite. There is no public default. */
  readonly iceServers?: readonly IceServer[];
  /** Relay for the other members, who get credentials from this one. Its token must grant the scope `relay`. Default: no. */
  readonly relay?: RelayOptions;
  /**
   * How many other members are to keep a copy of this agent's audit log, of those with {@link AgentOptions.keepAudit} whose token grants
   * `audit:keep`: 0 to 8. Default 0.
   */
  readonly auditCopies?: number;
  /** Keep copies of the audit logs of other members, 32 MiB each. This agent's token must grant `audit:keep`. Default false. */
  readonly keepAudit?: boolean;
  /** `auto` takes the native stack where it loads and werift otherwise. Default `auto`. */
  readonly rtc?: "auto" | "native" | "werift" | RtcStack;
  /** Offer 127.0.0.1 as an address too. Default `auto`: when a signaling server is on this machine. */
  readonly loopback?: boolean | "auto";
  /**
   * Beginnings of names of network interfaces whose addresses members are not offered, such as `docker`; `[]` offers all. Default:
   * bridges of containers and tunnels, unless the machine has nothing else.
   */
  readonly skipInterfaces?: readonly string[];
  /** UDP ports for links, `[first, last]`, one or more for each link: for firewalls and port forwarding. Default: any. */
  readonly portRange?: readonly [first: number, last: number];
  /** Addresses by which others reach this machine although it does not have them: port forwarding, one-to-one NAT. */
  readonly announce?: readonly string[];
  /** Looks up `.local` names in candidates of browsers on this network; with werift each may take 10 s. Default false. */
  readonly localNames?: boolean;
  /**
   * The file of an issuing key, with `place.key` beside it: this member then exchanges join tokens for newcomers and renews
   * the tokens of others. One process at a time uses a key file; two machines never share one. Default: none.
   */
  readonly issuingKey?: string;
  /**
   * Where values are kept, in the state directory: SQLite (part of Node), LMDB (needs the package `lmdb`), or not at all:
   * an agent with `memory` forgets what it held when it ends. One state directory has one kind. Default `sqlite`.
   */
  readonly store?: "sqlite" | "lmdb" | "memory";
  /** Seals the keys of the store; without it they lie in the state directory, readable by its owner only. */
  readonly storePassphrase?: string;
  /**
   * How long a first join may take, ms: without a token from an issuer by then the start fails with
   * `signaling-unreachable` or `issuer-unreachable`. An agent that has held a token keeps trying without end. Default 60,000.
   */
  readonly joinTimeoutMs?: number;
  /** Told in a line what the start waits for, for people. */
  readonly onProgress?: (line: string) => void;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Aborts the start; an agent that has started is not affected. */
  readonly signal?: AbortSignal;
}

const url = z
  .string()
  .max(2_048)
  .regex(/^wss?:\/\/[^\s/]+/, "must start with ws:// or wss://");

/** Below 1,024 a process needs privileges. */
const port = z.int().min(1_024).max(65_535);

const iceUrl = z
  .string()
  .max(512)
  .refine(
    (text) => typeof parseIceUrl(text) === "object",
    "must be stun:HOST, turn:HOST or turns:HOST, with a port or not",
  );

const iceServer = z.strictObject({
  urls: z.union([iceUrl, z.array(iceUrl).max(8)]),
  username: z.string().max(512).exactOptional(),
  credential: z.string().max(512).exactOptional(),
});

/** The settings that a configuration file, the environment and flags share. */
export const settingsSchema = z.strictObject({
  name: z.string().min(1).max(MAX_NAME_LENGTH),
  labels: z
    .record(z.string().min(1).max(MAX_LABEL_LENGTH), z.string().max(MAX_LABEL_LENGTH))
    .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`),
  signaling: z.array(url).max(8),
  signalingTls: z
    .strictObject({
      ca: z.string().max(1_024).exactOptional(),
      cert: z.string().max(1_024).exactOptional(),
      key: z.string().max(1_024).exactOptional(),
    })
    .exactOptional(),
  iceServers: z.array(iceServer).max(8),
  rtc: z.enum(["auto", "native", "werift"]),
  loopback: z.union([z.boolean(), z.literal("auto")]),
  skipInterfaces: z.array(z.string().min(1).max(64)).max(64).exactOptional(),
  portRange: z
    .tuple([port, port])
    .refine(([first, last]) => first <= last, "the first port must not be above the last")
    .exactOptional(),
  announce: z.array(z.union([z.ipv4(), z.ipv6()])).max(8),
  localNames: z.boolean(),
  store: z.enum(["sqlite", "lmdb", "memory"]),
  log: z.enum(["debug", "info", "warn", "error", "silent"]),
  /** Where `starling up` answers Prometheus, `host:port`; nowhere when absent. */
  metrics: z.string().max(256).exactOptional(),
  /** Commands that `starling up` takes on its control socket. */
  controlCalls: z.strictObject({ perSecond: z.number().min(1).max(1e6), burst: z.int().min(1).max(1e6) }),
  /** Roles of one's own, for `starling invite`, `token create` and `signal.oidc`: what each stands for. */
  roles: z
    .record(z.string(), z.array(z.string()))
    .refine((roles) => Object.keys(roles).length <= MAX_OWN_ROLES, `at most ${MAX_OWN_ROLES} roles`)
    .superRefine((roles, context) => {
      for (const [name, scopes] of Object.entries(roles)) {
        const message = roleFault(name, scopes);
        if (message !== undefined) context.addIssue({ code: "custom", path: [name], message });
      }
    })
    .exactOptional(),
  /** Settings of `starling stun`, which checks them itself. */
  stun: z.unknown().exactOptional(),
  /** Settings of `starling signal`, which checks them itself. */
  signal: z.unknown().exactOptional(),
});

export type Settings = z.infer<typeof settingsSchema>;

/** A busy script and a dashboard beside it; what one process can start of commands is some 20 a second. */
const CONTROL_CALLS: Rate = { perSecond: 500, burst: 2_000 };

/** What holds where nothing else is said; `signaling` and `iceServers` then come from the invite. */
export function defaultSettings(): Settings {
  return {
    name: hostname().slice(0, MAX_NAME_LENGTH) || "node",
    labels: {},
    signaling: [],
    iceServers: [],
    rtc: "auto",
    loopback: "auto",
    announce: [],
    localNames: false,
    store: "sqlite",
    log: "info",
    controlCalls: CONTROL_CALLS,
  };
}

/** The state directory that holds where none is named: `$XDG_STATE_HOME/starling`. */
export function defaultStateDirectory(): string {
  const base = process.env["XDG_STATE_HOME"];
  return join(base?.startsWith("/") ? base : join(homedir(), ".local", "state"), "starling");
}

/** Copies of an audit log: each costs the keeper's disk and a signature check a line. */
const MAX_AUDIT_COPIES = 8;
/** The longest first join, ms: a day. */
const MAX_JOIN_TIMEOUT_MS = 86_400_000;

const CHECKED_OPTIONS = [
  ...(["name", "labels", "signaling", "iceServers"] as const),
  ...(["skipInterfaces", "portRange", "announce", "localNames", "store"] as const),
] as const;

/** Checks an app's options; throws `usage` that names the option and what it must be. */
export function checkOptions(options: AgentOptions): void {
  const { issuingKey, relay, keepAudit, auditCopies = 0, labels, joinTimeoutMs = 1 } = options;
  if (!Number.isInteger(auditCopies) || auditCopies < 0 || auditCopies > MAX_AUDIT_COPIES)
    throw new StarlingError("usage", `option auditCopies: must be a whole number from 0 to ${MAX_AUDIT_COPIES}`);
  if (!(joinTimeoutMs > 0 && joinTimeoutMs <= MAX_JOIN_TIMEOUT_MS))
    throw new StarlingError("usage", `option joinTimeoutMs: must be above 0 and at most ${MAX_JOIN_TIMEOUT_MS}`);
  const taken = [issuingKey !== undefined, relay !== undefined, keepAudit === true].filter(Boolean).length;
  if (Object.keys(labels ?? {}).length + taken > MAX_LABELS)
    throw new StarlingError(
      "usage",
      `option labels: there is room for ${MAX_LABELS - taken}, since an issuer, a relay and a keeper of audit logs have a label each that says so`,
    );
  const present = Object.fromEntries(
    CHECKED_OPTIONS.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
  const result = settingsSchema.partial().safeParse(present);
  if (result.success) return;
  const issue = result.error.issues[0];
  throw new StarlingError("usage", `option ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is not valid"}`);
}
