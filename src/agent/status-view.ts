import { MAX_CACHED_RECORDS } from "../drivers/state/member-cache.ts";
import type { Instant } from "../proto/machine.ts";
import type { Mesh } from "../proto/mesh.ts";
import { RELAY_LABEL, type RelayCandidate } from "../proto/negotiation/relays.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { KeyEnd } from "../proto/trust/key-end.ts";
import type { AgentStatus, AuditStatus, MemberStatus, SelfStatus, StatusWarning, StoreStatus } from "../status.ts";
import { version } from "../version.ts";
import type { Connections } from "./connections.ts";
import type { MemberInfo } from "./events.ts";
import type { PeerLink } from "./peer-link.ts";
import type { RelayedLinks } from "./relayed-links.ts";
import type { Servers } from "./servers.ts";
import type { Storage } from "./storage.ts";
import type { Trust } from "./trust.ts";

const WARNINGS = ["token-expiring", "issuing-key-expiring"] as const satisfies readonly StatusWarning["code"][];

/** What a status is made of. */
export interface StatusSources {
  readonly trust: Trust;
  readonly mesh: Mesh;
  readonly servers: Servers;
  readonly connections: Connections;
  readonly storage: Storage;
  readonly relayed: RelayedLinks;
  readonly name: string;
  readonly state: SelfStatus["state"];
  readonly now: Instant;
  /** Of a token that nobody renews, and of an issuing key that ends. */
  readonly warnings: Readonly<Record<StatusWarning["code"], string | undefined>>;
  readonly keyEnd: KeyEnd | undefined;
  readonly audit: AuditStatus;
}

/** Puts together what `agent.status()` returns. */
export function describeStatus(sources: StatusSources): AgentStatus {
  const { trust, mesh, servers, connections, relayed, storage, name, state, now } = sources;
  const links = new Map<PeerId, PeerLink>();
  for (const link of relayed.links()) links.set(link.id, link);
  for (const link of connections.links()) links.set(link.id, link);
  const members: MemberStatus[] = [];
  for (const { record, state } of mesh.membership.members()) {
    const link = links.get(record.id);
    members.push({
      id: record.id,
      name: record.name,
      state,
      incarnation: record.incarnation,
      path: link?.status().path ?? "none",
      rttMs: link?.rttMs ?? null,
      lastSeenMs: link ? now - link.heardAt : null,
      labels: Object.fromEntries(record.labels),
    });
  }
  members.sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    self: {
      id: trust.id,
      name,
      cluster: trust.cluster.clusterId,
      state,
      version,
      tokenExpiresAt: trust.token ? new Date(trust.token.facts.expiresAt).toISOString() : null,
      scopes: trust.token?.facts.scopes ?? [],
      issuingKeyExpiresAt: sources.keyEnd === undefined ? null : new Date(sources.keyEnd.endsAt).toISOString(),
    },
    signaling: servers.status(),
    members,
    links: Array.from(links.values(), (link) => {
      const status = link.status();
      // What makes a routed link goes over links of the mesh.
      return { ...status, signaledBy: status.path === "routed" ? "mesh" : connections.signaledBy(link.id) };
    }),
    buckets: mesh.replication
      .buckets()
      .map(({ name, keys, bytes, digest, replicas }) => ({ name, keys, bytes, digest, replicas })),
    store: { ...storage.status(), ...away(mesh) },
    audit: sources.audit,
    warnings: WARNINGS.flatMap((code) => {
      const message = sources.warnings[code];
      return message === undefined ? [] : [{ code, message }];
    }),
  };
}

function away({ replication }: Mesh): Pick<StoreStatus, "awaySince" | "setAside"> {
  const { gapFrom } = replication.standing;
  return {
    awaySince: gapFrom === undefined ? null : new Date(gapFrom).toISOString(),
    setAside: replication.setAside().length,
  };
}

/** A member as applications see it; undefined when it is unknown. */
export function memberInfo(mesh: Mesh, id: PeerId): MemberInfo | undefined {
  const member = mesh.membership.member(id);
  if (!member) return undefined;
  const { record, state } = member;
  return { id, name: record.name, state, labels: Object.fromEntries(record.labels) };
}

/** Whether it has left, or its membership is void: nothing goes on with it. */
export function isOut(mesh: Mesh | undefined, id: PeerId): boolean {
  const member = mesh?.membership.member(id);
  return member !== undefined && (member.state === "left" || member.lapsed);
}

/** Everybody in the list, as applications see them. */
export function memberInfos(mesh: Mesh): MemberInfo[] {
  const members: MemberInfo[] = [];
  for (const { record } of mesh.membership.members()) {
    const member = memberInfo(mesh, record.id);
    if (member) members.push(member);
  }
  return members;
}

/** Everybody in the list, as far as choosing relays goes. */
export function* relayCandidates(mesh: Mesh): Generator<RelayCandidate> {
  for (const { record, facts, state } of mesh.membership.members()) {
    if (!record.labels.some(([key]) => key === RELAY_LABEL)) continue;
    yield {
      id: record.id,
      isAlive: state === "alive",
      labels: Object.fromEntries(record.labels),
      scopes: facts.scopes,
    };
  }
}

/** Encoded records of the members other than `self` that may be met again, for the next start. */
export function recordsOf(mesh: Mesh, self: PeerId): readonly Uint8Array[] {
  const records: Uint8Array[] = [];
  for (const { record, state } of mesh.membership.members()) {
    const bytes = record.id === self || state === "left" ? undefined : mesh.membership.record(record.id);
    if (bytes && records.length < MAX_CACHED_RECORDS) records.push(bytes);
  }
  return records;
}
