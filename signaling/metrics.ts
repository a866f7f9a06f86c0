import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { COUNTERS } from "./proto/counters.ts";
import type { SignalingServer } from "./server.ts";

/**
 * A signaling server in the words of Prometheus. Its counters have fixed names; nothing that an agent chooses is a label.
 *
 * @param certificateEndsAt when the certificate in use ends, Unix ms; undefined: the server has none.
 */
export function signalingMetrics(
  server: Pick<SignalingServer, "counters" | "connections">,
  certificateEndsAt: () => number | undefined,
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
  const events = new Counter({
    name: "starling_signaling_events_total",
    help: "What has happened, and what was refused, by kind.",
    labelNames: ["kind"],
    registers,
  });
  return async () => {
    connections.set(server.connections);
    certificate.set((certificateEndsAt() ?? 0) / 1_000);
    events.reset();
    const counters = server.counters();
    for (const kind of COUNTERS) events.inc({ kind }, counters[kind]);
    return { type: registry.contentType, text: await registry.metrics() };
  };
}
