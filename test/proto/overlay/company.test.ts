import { expect, test } from "vitest";
import type { Instant } from "../../../src/proto/machine.ts";
import { Company, type CompanyOutput } from "../../../src/proto/overlay/company.ts";

/** What a member wants until `until`, whose number of links is `links` at each moment; each with its time. */
function run(company: Company, links: { size: number }, linksAt: (at: Instant) => number, until: Instant) {
  const wanted: [at: Instant, output: CompanyOutput][] = [];
  for (let at = company.deadline(); at !== undefined && at <= until; at = company.deadline()) {
    links.size = linksAt(at);
    for (const output of company.handle({ type: "timeout" }, at)) wanted.push([at, output]);
  }
  return wanted;
}

function timesOf(wanted: readonly (readonly [Instant, CompanyOutput])[], type: CompanyOutput["type"]): Instant[] {
  return wanted.flatMap(([at, output]) => (output.type === type ? [at] : []));
}

test("a member that finds nobody asks the servers ever more rarely, and goes by those that it remembers", () => {
  const links = { size: 0 };
  const wanted = run(new Company(links, 0), links, () => 0, 60_000);
  expect(timesOf(wanted, "introduce")).toEqual([250, 750, 1_750, 3_750, 7_750, 15_750, 30_750, 45_750]);
  expect(timesOf(wanted, "recall")).toEqual([2_000]);
});

test("a member that finds another asks it first: who is remembered counts as down until it says otherwise", () => {
  const links = { size: 0 };
  const wanted = run(new Company(links, 0), links, (at) => (at > 300 ? 1 : 0), 70_000);
  expect(timesOf(wanted, "introduce")).toEqual([250, 750, 60_750]);
  expect(timesOf(wanted, "recall")).toEqual([10_000]);
});

test("a member that has lost its links asks soon again", () => {
  const links = { size: 0 };
  const company = new Company(links, 0);
  run(company, links, () => 0, 16_000);
  company.handle({ type: "link-up" }, 17_000);
  const wanted = run(company, links, () => 0, 33_000);
  expect(timesOf(wanted, "introduce")).toEqual([30_750, 31_250, 32_250]);
});

test("a member that nobody answers tries the servers at once, and every two seconds for half a minute while none is there", () => {
  const links = { size: 3 };
  const company = new Company(links, 0);
  expect(company.handle({ type: "isolated" }, 100)).toEqual([{ type: "nudge", unlessReady: false }]);
  // Another word of it begins the half minute anew, at the same pace.
  expect(
    timesOf(
      run(company, links, () => 3, 4_000),
      "nudge",
    ),
  ).toEqual([2_100]);
  company.handle({ type: "isolated" }, 4_000);
  const wanted = run(company, links, () => 3, 100_000).filter(([, { type }]) => type === "nudge");
  expect(wanted).toEqual(
    Array.from({ length: 15 }, (_, step) => [4_100 + step * 2_000, { type: "nudge", unlessReady: true }]),
  );
});
