import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { SignalingService } from "./main.ts";
import { COUNTERS } from "./proto/counters.ts";

/** A signaling server in the words of Prometheus. Its counters have fixed names; nothing that an agent chooses is a label. */
export function signalingMetrics(
  server: Pick<SignalingService, "counters" | "connections" | "certificateEndsAt" | "keyEnd" | "revocations">,
): () => Promise<{ readonly type: string; readonly text: string }> {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const connections = new Gauge({
    name: "starling_signaling_connections",
    help: "Open connections, in any stage.",
    registers,
  });
  const certificate = new Gauge({
    name: "starling_signaling_certificate_expires_timestamp_seconds",
    help: "When the certificate in use ends, Unix time; 0 without one.",
    registers,
  });
  const keyEnd = new Gauge({
    name: "starling_issuing_key_expires_timestamp_seconds",
    help: "When the issuing key ends by which this process issues, else the last one that counts, Unix time; 0 where all are revoked.",
    registers,
  });
  const revocations = new Gauge({
    name: "starling_revocations",
    help: "Revocations in force, by what they are of.",
    labelNames: ["of"],
    registers,
  });
  const events = new Counter({
    name: "starling_signaling_events_total",
    help: "What has happened, and what was refused, by kind.",
    labelNames: ["kind"],
    registers,
  });
  return async () => {
    connections.set(server.connections);
    certificate.set((server.certificateEndsAt ?? 0) / 1_000);
    keyEnd.set((server.keyEnd()?.endsAt ?? 0) / 1_000);
    for (const [of, count] of Object.entries(server.revocations())) revocations.set({ of }, count);
    events.reset();
    const counters = server.counters();
    for (const kind of COUNTERS) events.inc({ kind }, counters[kind]);
    return { type: registry.contentType, text: await registry.metrics() };
  };
}
