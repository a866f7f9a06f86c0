/**
 * Checks the licence and the origin of everything that the lockfile installs.
 *
 *     npm run -s licences -- [--json]
 *
 * Exit 1 when something is not on the list of `lockfile.ts`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type LockedPackages, licenceCounts, lockfileFaults } from "./lockfile.ts";

const lock = JSON.parse(readFileSync(join(import.meta.dirname, "../../package-lock.json"), "utf8")) as {
  readonly packages: LockedPackages;
};
const faults = lockfileFaults(lock.packages);
const counts = licenceCounts(lock.packages);
if (process.argv.includes("--json"))
  process.stdout.write(
    `${JSON.stringify({ ok: faults.length === 0, licences: Object.fromEntries(counts), faults })}\n`,
  );
else {
  for (const [licence, count] of counts) process.stdout.write(`${String(count).padStart(5)}  ${licence}\n`);
  for (const fault of faults) process.stderr.write(`${fault}\n`);
}
process.exitCode = faults.length === 0 ? 0 : 1;
