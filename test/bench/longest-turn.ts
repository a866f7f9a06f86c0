/** The longest turn of an event loop, ms. */
export interface LongestTurn {
  /** CPU time of its thread: what a machine that is busy with other things adds is none of ours. */
  readonly cpuMs: number;
  readonly clockMs: number;
}

/** Begins to watch this thread's event loop, which never rests from here on; ended by the result, which tells the longest turn since. */
export function watchTurns(): () => LongestTurn {
  let cpuMs = 0;
  let clockMs = 0;
  let isOver = false;
  let cpu = process.threadCpuUsage();
  let clock = performance.now();
  const look = (): void => {
    const used = process.threadCpuUsage(cpu);
    const now = performance.now();
    cpuMs = Math.max(cpuMs, (used.user + used.system) / 1_000);
    clockMs = Math.max(clockMs, now - clock);
    cpu = process.threadCpuUsage();
    clock = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  return () => {
    isOver = true;
    return { cpuMs: Math.round(cpuMs * 10) / 10, clockMs: Math.round(clockMs * 10) / 10 };
  };
}
