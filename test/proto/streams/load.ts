import type { StreamPriority } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import type { End, Path } from "./path.ts";

/** What a run under load has seen. */
export interface Load {
  /** Payload bytes that have arrived. */
  received: number;
  /** One-way delays of probes beyond the path's own delay, ms. */
  readonly probeDelaysMs: number[];
  probesSent: number;
  dead: boolean;
}

/** One stream that is always full from the dialer to the answerer, and a probe every `probeIntervalMs`. */
export function bulk(
  path: Path,
  { messageBytes = 65_536, priority = "bulk", probeIntervalMs = 20 }: BulkOptions = {},
): Load {
  const { dialer, answerer } = path;
  const load: Load = { received: 0, probeDelaysMs: [], probesSent: 0, dead: false };
  const payload = new Uint8Array(messageBytes);
  dialer.onOutput = (output) => {
    if (output.type === "opening" || output.type === "writable") dialer.fill(output.stream, payload);
    if (output.type === "dead") load.dead = true;
  };
  answerer.onOutput = (output, now) => {
    if (output.type === "opened") answerer.handle({ type: "accept", stream: output.stream });
    if (output.type === "dead") load.dead = true;
    if (output.type !== "message") return;
    if (output.stream === Lane.probe) {
      const sentAt = new DataView(output.bytes.buffer, output.bytes.byteOffset).getFloat64(0);
      load.probeDelaysMs.push(now - sentAt - dialer.direction.delayMs);
      return;
    }
    load.received += output.bytes.length;
    answerer.handle({ type: "consumed", stream: output.stream, messages: 1, bytes: output.bytes.length });
  };
  dialer.handle({ type: "open", protocol: "bulk/1", priority });
  probeEvery(path, dialer, probeIntervalMs, load);
  return load;
}

export interface BulkOptions {
  readonly messageBytes?: number;
  readonly priority?: StreamPriority;
  readonly probeIntervalMs?: number;
}

function probeEvery(path: Path, end: End, intervalMs: number, load: Load): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, path.now);
  load.probesSent++;
  end.handle({ type: "send", stream: Lane.probe, bytes });
  path.at(path.now + intervalMs, () => probeEvery(path, end, intervalMs, load));
}

/** The value that `share` (0 to 1) of `values` do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
