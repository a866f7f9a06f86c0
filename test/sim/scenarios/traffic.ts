import type { MeshRun } from "../mesh-run.ts";

/** What each member sends in a second, on average. */
export interface Traffic {
  readonly messagesPerNodeSecond: number;
  /** What is handed to the channels of links: messages in their frames. */
  readonly bytesPerNodeSecond: number;
  /** What that is on the wire when each message goes by itself. */
  readonly wireBytesPerNodeSecond: number;
}

/** What a part of a run has cost. */
interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly traffic: Traffic;
}

/** IPv4 20, UDP 8, a record of DTLS 1.2 with AES-GCM 37, SCTP 12 and the head of its data chunk 16. */
const PACKET_BYTES = 93;

const MOST_MESSAGES = 5;
const MOST_BYTES = 800;

/** How long `work` takes and keeps the processor, and what members send meanwhile. */
export function costOf(run: MeshRun, work: () => void): Cost {
  const { stats } = run.world;
  const { messages, bytes } = stats;
  const from = run.now;
  const begin = performance.now();
  const cpu = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(cpu);
  const nodeSeconds = (run.size * (run.now - from)) / 1_000;
  const sent = { messages: stats.messages - messages, bytes: stats.bytes - bytes };
  return {
    wallMs: performance.now() - begin,
    cpuMs: (user + system) / 1_000,
    traffic: {
      messagesPerNodeSecond: rounded(sent.messages / nodeSeconds),
      bytesPerNodeSecond: rounded(sent.bytes / nodeSeconds),
      wireBytesPerNodeSecond: rounded((sent.bytes + sent.messages * PACKET_BYTES) / nodeSeconds),
    },
  };
}

/** What is wrong with the traffic of a mesh at rest. */
export function withinTraffic({ messagesPerNodeSecond, wireBytesPerNodeSecond }: Traffic): string[] {
  const failures: string[] = [];
  if (messagesPerNodeSecond > MOST_MESSAGES) failures.push(`${messagesPerNodeSecond} messages a second and node`);
  if (wireBytesPerNodeSecond > MOST_BYTES) failures.push(`${wireBytesPerNodeSecond} bytes a second and node`);
  return failures;
}

/** To three places, for people. */
export function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
