/**
 * Compares this build with another commit, in the simulator:
 *
 *     npm run sim:compare -- BASE [--json]
 *
 * Runs a fixed set of scenarios here and in a worktree of BASE, and prints every figure that differs. Exit 0; 1 when a run fails here that
 * holds at BASE; 2: usage. What a scenario measures is by its own clock, so that differences are the code's and never the machine's; the
 * processor's time alone is the machine's, and is shown when it differs by a quarter.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { compareReports, type Report } from "./comparison.ts";

const RUNS: readonly (readonly [scenario: string, nodes: number, seed: number])[] = [
  ["report", 200, 1],
  ["report", 200, 2],
  ["broadcast-tree", 200, 1],
  ["broadcast-deaths", 200, 1],
  ["swarm", 30, 1],
  ["swarm", 30, 2],
  ["lifeguard", 32, 1],
  ["rapid", 60, 1],
  ["partition", 30, 1],
  ["blackout", 50, 1],
];
const ROOT = resolve(import.meta.dirname, "../..");

const { values, positionals } = parseArgs({ options: { json: { type: "boolean" } }, allowPositionals: true });
const [base] = positionals;
if (base === undefined || positionals.length > 1) {
  process.stderr.write("usage: npm run sim:compare -- BASE [--json]\n");
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "starling-compare-"));
const tree = join(folder, "base");
let worse = false;
try {
  git("worktree", "add", "--quiet", "--detach", tree, base);
  install(tree);
  const results = RUNS.map(([scenario, nodes, seed]) => {
    const name = `${scenario} ${nodes} seed ${seed}`;
    process.stderr.write(`${name}\n`);
    return { name, differences: compareReports(run(tree, scenario, nodes, seed), run(ROOT, scenario, nodes, seed)) };
  });
  worse = results.some(({ differences }) => differences.some(({ isWorse }) => isWorse));
  if (values.json) process.stdout.write(`${JSON.stringify({ base, results })}\n`);
  else
    for (const { name, differences } of results) {
      process.stdout.write(`${name}: ${differences.length === 0 ? "equal" : ""}\n`);
      for (const { figure, before, after } of differences) process.stdout.write(`  ${figure}: ${before} -> ${after}\n`);
    }
} finally {
  git("worktree", "remove", "--force", tree);
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = worse ? 1 : 0;

function git(...options: string[]): void {
  execFileSync("git", ["-C", ROOT, ...options], { stdio: ["ignore", "ignore", "inherit"] });
}

/** The packages of this tree serve the other if both ask for the same. */
function install(other: string): void {
  const lock = (path: string): string => readFileSync(join(path, "package-lock.json"), "utf8");
  if (lock(other) === lock(ROOT)) symlinkSync(join(ROOT, "node_modules"), join(other, "node_modules"));
  else execFileSync("npm", ["ci", "--silent"], { cwd: other, stdio: ["ignore", "ignore", "inherit"] });
}

/** What a scenario prints; undefined where there is no such scenario. */
function run(root: string, scenario: string, nodes: number, seed: number): Report | undefined {
  if (!existsSync(join(root, "test/sim/main.ts"))) return undefined;
  const options = ["--scenario", scenario, "--nodes", String(nodes), "--seed", String(seed), "--json"];
  try {
    const stdio = ["ignore", "pipe", "ignore"] as const;
    const output = execFileSync(process.execPath, ["test/sim/main.ts", ...options], { cwd: root, stdio: [...stdio] });
    return JSON.parse(output.toString()) as Report;
  } catch (error) {
    // A run that fails prints its report all the same; a scenario that is unknown prints none.
    const output = (error as { stdout?: Buffer }).stdout?.toString() ?? "";
    return output.startsWith("{") ? (JSON.parse(output) as Report) : undefined;
  }
}
