import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Agent } from "../agent.ts";
import type { AgentStatus } from "../status.ts";

/**
 * An agent in the words of Prometheus. Every label has a closed set of values or a bound: what other members choose (their names, ids
 * and labels) is in none of them, so that nobody makes an operator's database grow.
 */

/** Buckets that have series of their own, by name; the rest is summed up. */
const MAX_BUCKETS = 64;
/** The label of what is beyond a bound; no bucket has this name. */
const OTHERS = "(others)";
/** What a fault of admission begins with; the reason follows. */
const ADMISSION = "admission-";

const KEY_END_HELP =
  "When the issuing key ends by which this process issues, else the last one that counts, Unix time; 0 where all are revoked.";

const MEMBER_CHANGES = ["up", "suspect", "down", "left"] as const;
const LINK_CHANGES = ["up", "down"] as const;

/** The parts of an agent that are read. */
export type ObservedAgent = Pick<Agent, "status" | "counters" | "addEventListener">;

/** Renders the metrics of `agent` and its process, and counts its events from here on. Each call reads the agent once. */
export function agentMetrics(agent: ObservedAgent): () => Promise<{ readonly type: string; readonly text: string }> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string, ...labelNames: string[]) =>
    new Gauge({ name: `starling_${name}`, help, labelNames, registers });
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({ name: `starling_${name}`, help, labelNames, registers });

  const memberChanges = counter("member_changes_total", "Members that have become this.", "change");
  for (const change of MEMBER_CHANGES) {
    memberChanges.inc({ change }, 0);
    agent.addEventListener(`member${change}`, () => memberChanges.inc({ change }));
  }
  const linkChanges = counter("link_changes_total", "Links that came up and went down.", "change");
  for (const change of LINK_CHANGES) {
    linkChanges.inc({ change }, 0);
    agent.addEventListener(`link${change}`, () => linkChanges.inc({ change }));
  }

  const members = gauge("members", "Members in the list by state, this agent included.", "state");
  const links = gauge("links", "Links by path.", "path");
  const rtt = gauge("link_rtt_seconds_max", "The longest smoothed round trip of all links.");
  const tokenEnd = gauge("token_expires_timestamp_seconds", "When the member token in use expires, Unix time.");
  const keyEnd = gauge("issuing_key_expires_timestamp_seconds", KEY_END_HELP);
  const waiting = gauge("link_waiting_bytes", "Bytes given to links and not acknowledged: queued, or on their way.");
  const revocations = gauge("revocations", "Revocations in force, by what they are of.", "of");
  const relayed = counter("relayed_bytes_total", "Bytes carried for other members.", "by");
  const copies = gauge("audit_copies", "Members that keep a copy of the audit log, and are asked to.", "are");
  const forks = counter("audit_forks_total", "Audit logs of members that were not those whose copies are kept here.");
  const warnings = gauge("warnings", "What somebody should see to, by kind: 1 while it holds.", "code");
  const ready = gauge("signaling_ready", "Signaling servers that the agent is logged in to.");
  const skew = gauge("clock_skew_seconds", "The largest difference of a server's clock from ours, with its sign.");
  const keys = gauge("bucket_keys", "Keys in a bucket.", "bucket");
  const bytes = gauge("bucket_bytes", "Bytes of the keys and values of a bucket.", "bucket");
  const denied = counter("admissions_denied_total", "Peers that were not admitted, by reason.", "reason");
  const faults = counter("faults_total", "Misbehaviour of peers, by kind.", "fault");
  const info = gauge("info", "Always 1.", "version", "id");

  const refresh = (): void => {
    const status = agent.status();
    info.reset();
    info.set({ version: status.self.version, id: status.self.id }, 1);
    fill(
      members,
      { alive: 0, suspect: 0, down: 0, left: 0 },
      "state",
      status.members.map(({ state }) => state),
    );
    const paths = { direct: 0, turn: 0, relay: 0, routed: 0 };
    fill(
      links,
      paths,
      "path",
      status.links.map(({ path }) => path),
    );
    rtt.set(Math.max(0, ...status.links.map(({ rttMs }) => rttMs ?? 0)) / 1_000);
    tokenEnd.set(secondsOf(status.self.tokenExpiresAt));
    keyEnd.set(secondsOf(status.self.issuingKeyExpiresAt));
    fill(
      warnings,
      { "token-expiring": 0, "issuing-key-expiring": 0 },
      "code",
      status.warnings.map(({ code }) => code),
    );
    ready.set(status.signaling.filter(({ state }) => state === "ready").length);
    skew.set(widest(status.signaling.map(({ skewMs = 0 }) => skewMs)) / 1_000);
    fillBuckets(keys, bytes, status.buckets);
    const counters = agent.counters();
    waiting.set(counters.waitingBytes);
    for (const [of, count] of Object.entries(counters.revocations)) revocations.set({ of }, count);
    copies.set({ are: "kept" }, status.audit.copies.filter(({ lines }) => lines > 0).length);
    copies.set({ are: "wanted" }, status.audit.copiesWanted);
    forks.reset();
    forks.inc(counters.auditForks);
    relayed.reset();
    for (const [by, bytes] of Object.entries(counters.relayedBytes)) relayed.inc({ by }, bytes);
    denied.reset();
    faults.reset();
    for (const [fault, count] of Object.entries(counters.faults)) {
      faults.inc({ fault }, count);
      if (fault.startsWith(ADMISSION)) denied.inc({ reason: fault.slice(ADMISSION.length) }, count);
    }
  };
  return async () => {
    refresh();
    return { type: registry.contentType, text: await registry.metrics() };
  };
}

/** Counts `values` into a gauge with one label; those in `zeros` are there from the begin. */
function fill(gauge: Gauge, zeros: Readonly<Record<string, number>>, label: string, values: readonly string[]): void {
  const counts = { ...zeros };
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  gauge.reset();
  for (const [value, count] of Object.entries(counts)) gauge.set({ [label]: value }, count);
}

function fillBuckets(keys: Gauge, bytes: Gauge, buckets: AgentStatus["buckets"]): void {
  keys.reset();
  bytes.reset();
  for (const [index, bucket] of buckets.entries()) {
    const name = index < MAX_BUCKETS ? bucket.name : OTHERS;
    keys.inc({ bucket: name }, bucket.keys);
    bytes.inc({ bucket: name }, bucket.bytes);
  }
}

function secondsOf(instant: string | null): number {
  return instant === null ? 0 : Date.parse(instant) / 1_000;
}

function widest(values: readonly number[]): number {
  return values.reduce((widest, value) => (Math.abs(value) > Math.abs(widest) ? value : widest), 0);
}
