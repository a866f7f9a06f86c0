/** What `npm run sim -- --json` prints, as far as it is compared. */
export interface Report {
  readonly digest: string;
  readonly ok: boolean;
  readonly failures: readonly string[];
  readonly cpuMs: number;
  readonly figures: Readonly<Record<string, number | string>>;
}

/** One figure that is not the same in two reports. */
export interface Difference {
  readonly figure: string;
  readonly before: number | string;
  readonly after: number | string;
  /** The run holds before and fails after. */
  readonly isWorse: boolean;
}

const ABSENT = "absent";
/** The processor's time wavers by this share from run to run. */
const CPU_SHARE = 0.25;

/** What differs from `before` to `after`; undefined: there is no such scenario. Equal digests are equal runs. */
export function compareReports(before: Report | undefined, after: Report | undefined): Difference[] {
  if (before === undefined || after === undefined) {
    if (before === after) return [];
    const present = (report: Report | undefined): string => (report === undefined ? ABSENT : "present");
    return [{ figure: "scenario", before: present(before), after: present(after), isWorse: false }];
  }
  const differences: Difference[] = [];
  const add = (figure: string, a: number | string, b: number | string, isWorse = false): void => {
    if (a !== b) differences.push({ figure, before: a, after: b, isWorse });
  };
  add("ok", String(before.ok), String(after.ok), before.ok && !after.ok);
  add("failures", before.failures.join("; "), after.failures.join("; "));
  for (const name of new Set([...Object.keys(before.figures), ...Object.keys(after.figures)])) {
    add(name, before.figures[name] ?? ABSENT, after.figures[name] ?? ABSENT);
  }
  if (Math.abs(after.cpuMs - before.cpuMs) > CPU_SHARE * before.cpuMs) add("cpuMs", before.cpuMs, after.cpuMs);
  if (differences.length === 0) add("digest", before.digest, after.digest);
  return differences;
}
