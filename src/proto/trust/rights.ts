import type { ClientMessage } from "../signaling/messages.ts";
import { FIRST_LINK_FRAME, FrameKind } from "../wire/frame-kind.ts";
import { allows, SCOPE_JOIN } from "./scopes.ts";

/**
 * What each door asks of whoever comes to it: one table for every surface. The code behind a door reads its row here, and a door
 * without a row does not open: the types, the start of an agent, or a test say so.
 *
 * What stands behind a right is proved elsewhere, once for each surface: membership by a login or an admission, ownership by the
 * permissions of the control socket, scopes by the token of whoever acts.
 */
export type Right =
  /** Strangers too: what comes before a login or an admission, and a word on health. Bounded, and reaches nobody else. */
  | "anyone"
  /** Whose token grants `mesh:join`, which the login or the admission has checked. */
  | "member"
  /** Whoever may open the control socket: it is as private as the node key, and lets nobody do more than that allows. */
  | "owner"
  | Act;

/** What a token has to name. */
export type Act = keyof typeof SCOPES;

/** The scope that each act needs, on the thing that it is done to. */
const SCOPES = {
  join: () => SCOPE_JOIN,
  /** Every member holds every bucket; this guards the doors of each agent. */
  "read-bucket": (bucket: string) => `kv:read:${bucket}`,
  "write-bucket": (bucket: string) => `kv:write:${bucket}`,
  "govern-bucket": (bucket: string) => `kv:admin:${bucket}`,
  "open-stream": (protocol: string) => `stream:${protocol}`,
  publish: (topic: string) => `topic:publish:${topic}`,
  /** Every member carries every post; this guards the doors of each agent. */
  subscribe: (topic: string) => `topic:subscribe:${topic}`,
  /** Without it nobody sends packets to the server that a member announces. */
  relay: () => "relay",
  "read-metrics": () => "metrics:read",
  /** Without it nobody hands a member its audit log. */
  "keep-audit": () => "audit:keep",
  /** These two of the ceiling of an issuing key, if what it decrees is to count. */
  revoke: () => "member:revoke",
  rotate: () => "keys:rotate",
} as const;

/** The scope that `act` on `thing` needs. */
export function scopeFor(act: Act, thing = ""): string {
  return SCOPES[act](thing);
}

/** Whether one of the scopes `granted` allows `act` on `thing`. */
export function mayDo(granted: readonly string[], act: Act, thing = ""): boolean {
  return allows(granted, scopeFor(act, thing));
}

/** What agents say to a signaling server. */
export const SIGNALING_RIGHTS: Readonly<Record<ClientMessage["type"], Right>> = {
  hello: "anyone",
  "foreign-hello": "anyone",
  login: "anyone",
  exchange: "anyone",
  goodbye: "anyone",
  present: "member",
  introduce: "member",
  signal: "member",
  renew: "member",
  ice: "member",
  time: "member",
  /** And the desk is signed by an issuing key for this very member. */
  desk: "member",
  answer: "member",
  compare: "member",
  /** And each decree is signed by a key that may decree it. */
  decrees: "member",
  /** And the token it is for is that member's, and valid. */
  seek: "member",
};

/** What a link's first byte says. Which bucket or topic a frame is about, its reader judges by the acts above. */
const FRAME_RIGHTS: Readonly<Record<FrameKind | typeof FIRST_LINK_FRAME, Right>> = {
  [FrameKind.hello]: "anyone",
  [FrameKind.proof]: "anyone",
  [FrameKind.refusal]: "anyone",
  [FrameKind.ready]: "anyone",
  [FIRST_LINK_FRAME]: "member",
};

/** What a frame of this kind needs; `member` for every kind that has no row. */
export function rightOfFrame(kind: number): Right {
  return (FRAME_RIGHTS as Readonly<Record<number, Right>>)[kind] ?? "member";
}

/** Protocols of Starling itself begin so: they have a row each, and no application serves them. */
export const OWN_PREFIX = "starling/";

const OWN_STREAMS: Readonly<Record<string, Right>> = {
  "starling/audit/1": "member",
  "starling/issuer/1": "member",
  "starling/keys/1": "member",
  "starling/relay/1": "member",
  "starling/turn/1": "member",
  "starling/why/1": "member",
};

/** What a stream of this protocol needs, at both ends; undefined for one of Starling's own that has no row. */
export function rightOfStream(protocol: string): Right | undefined {
  if (!protocol.startsWith(OWN_PREFIX)) return "open-stream";
  return Object.hasOwn(OWN_STREAMS, protocol) ? OWN_STREAMS[protocol] : undefined;
}

/** HTTP: of what operators scrape, and of a signaling server. */
export const ROUTE_RIGHTS = {
  "/healthz": "anyone",
  "/readyz": "anyone",
  /** On loopback of whoever is on the machine. */
  "/metrics": "read-metrics",
  /** Public keys, and nothing else. */
  "/.well-known/jwks.json": "anyone",
} as const satisfies Readonly<Record<string, Right>>;

/** A command of the control socket: what it needs, and the parameter that names what it is done to. */
export interface CommandRight {
  readonly right: Right;
  readonly on?: "bucket" | "topic";
}

const OWNER: CommandRight = { right: "owner" };
const READ: CommandRight = { right: "read-bucket", on: "bucket" };
const WRITE: CommandRight = { right: "write-bucket", on: "bucket" };
const GOVERN: CommandRight = { right: "govern-bucket", on: "bucket" };

/** Commands that decree something need a key besides, whose ceiling is judged by every member. */
export const COMMAND_RIGHTS: Readonly<Record<string, CommandRight>> = {
  status: OWNER,
  down: OWNER,
  netcheck: OWNER,
  why: OWNER,
  ping: OWNER,
  backup: OWNER,
  "token.revoke": OWNER,
  "token.rotate": OWNER,
  "keys.list": OWNER,
  "keys.change": OWNER,
  "keys.rotate": OWNER,
  "bucket.list": OWNER,
  "bucket.show": OWNER,
  "bucket.set": GOVERN,
  "bucket.drop": GOVERN,
  "kv.get": READ,
  "kv.list": READ,
  "kv.watch": READ,
  "kv.export": READ,
  "kv.put": WRITE,
  "kv.putMany": WRITE,
  "kv.delete": WRITE,
  "topic.publish": { right: "publish", on: "topic" },
  "topic.subscribe": { right: "subscribe", on: "topic" },
  /** Of the nodes of `starling demo` only. */
  "demo.isolate": OWNER,
  "demo.counters": OWNER,
  "demo.awaitDown": OWNER,
};
