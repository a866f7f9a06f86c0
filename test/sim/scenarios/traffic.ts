import type { MeshRun } from "../mesh-run.ts";

/** What each member sends in a second, on average. */
export interface Traffic {
  readonly messagesPerNodeSecond: number;
  readonly bytesPerNodeSecond: number;
}

const MOST_MESSAGES = 5;
const MOST_BYTES = 800;

/** What `work` costs the processor, and what members send meanwhile. */
export function costOf(run: MeshRun, work: () => void): { readonly cpuMs: number; readonly traffic: Traffic } {
  const { stats } = run.world;
  const { messages, bytes } = stats;
  const from = run.now;
  const cpu = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(cpu);
  const nodeSeconds = (run.size * (run.now - from)) / 1_000;
  return {
    cpuMs: (user + system) / 1_000,
    traffic: {
      messagesPerNodeSecond: rounded((stats.messages - messages) / nodeSeconds),
      bytesPerNodeSecond: rounded((stats.bytes - bytes) / nodeSeconds),
    },
  };
}

/** What is wrong with the traffic of a mesh at rest. */
export function withinTraffic({ messagesPerNodeSecond, bytesPerNodeSecond }: Traffic): string[] {
  const failures: string[] = [];
  if (messagesPerNodeSecond > MOST_MESSAGES) failures.push(`${messagesPerNodeSecond} messages a second and node`);
  if (bytesPerNodeSecond > MOST_BYTES) failures.push(`${bytesPerNodeSecond} bytes a second and node`);
  return failures;
}

/** To three places, for people. */
export function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
