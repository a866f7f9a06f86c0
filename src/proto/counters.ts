/** How often each of `names` has happened: all zero, at the start. */
export function zeroCounters<Name extends string>(names: readonly Name[]): Record<Name, number> {
  const counters: Partial<Record<Name, number>> = {};
  for (const name of names) counters[name] = 0;
  return counters as Record<Name, number>;
}
