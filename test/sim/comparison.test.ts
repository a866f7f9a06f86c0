import { expect, test } from "vitest";
import { compareReports, type Report } from "./comparison.ts";

const report: Report = { digest: "a", ok: true, failures: [], cpuMs: 1_000, figures: { falseDeaths: 0, lastMs: 200 } };

test("equal reports have no differences, and the processor's time may waver", () => {
  expect(compareReports(report, { ...report, cpuMs: 1_200 })).toEqual([]);
  expect(compareReports(undefined, undefined)).toEqual([]);
});

test("figures that differ, appear or vanish are named with both values", () => {
  const after = { ...report, digest: "b", cpuMs: 2_000, figures: { falseDeaths: 1, redundancy: 0.1 } };
  expect(compareReports(report, after)).toEqual([
    { figure: "falseDeaths", before: 0, after: 1, isWorse: false },
    { figure: "lastMs", before: 200, after: "absent", isWorse: false },
    { figure: "redundancy", before: "absent", after: 0.1, isWorse: false },
    { figure: "cpuMs", before: 1_000, after: 2_000, isWorse: false },
  ]);
});

test("a run that held and fails is worse; one that only runs otherwise is told by its digest", () => {
  const failed = { ...report, digest: "b", ok: false, failures: ["too late"] };
  expect(compareReports(report, failed).map(({ figure, isWorse }) => [figure, isWorse])).toEqual([
    ["ok", true],
    ["failures", false],
  ]);
  expect(compareReports(failed, report)[0]).toMatchObject({ figure: "ok", isWorse: false });
  expect(compareReports(report, { ...report, digest: "b" })).toEqual([
    { figure: "digest", before: "a", after: "b", isWorse: false },
  ]);
});

test("a scenario that only one of both has is told, and is no failure", () => {
  expect(compareReports(undefined, report)).toEqual([
    { figure: "scenario", before: "absent", after: "present", isWorse: false },
  ]);
});
