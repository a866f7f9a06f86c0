/**
 * Runs one scenario by name and prints what it found.
 *
 *     npm run sim -- --scenario NAME [--nodes N] [--seed S] [--runs K] [--check] [--json]
 *     npm run sim -- --list
 *
 * With `--check` the time and the memory of the run count as well. With `--runs K` the seeds S, S + 1, ... are run until one
 * fails. Exit 0: all held; 1: something did not, and the command that repeats it is printed on stderr; 2: usage.
 *
 * The script of `package.json` asks for one core and for room for young objects, and has the engine not guess which objects will live for
 * long: at the start of a run many messages are alive at once, and it would put all later ones among the old.
 */
import { parseArgs } from "node:util";
import { scenarios } from "./scenarios/index.ts";
import type { Scenario } from "./scenarios/scenario.ts";

/** Ends the command with a message about how to use it. */
function usage(message: string): never {
  process.stderr.write(
    `${message}\nusage: npm run sim -- --scenario NAME [--nodes N] [--seed S] [--runs K] [--check] [--json] | --list\n`,
  );
  process.exit(2);
}

function wholeNumber(text: string | undefined, name: string, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text)) usage(`--${name} takes a whole number, not "${text}"`);
  return Number(text);
}

/** Runs one seed and adds what only a real clock knows. */
function runOnce(scenario: Scenario, nodes: number, seed: number, check: boolean) {
  const begin = performance.now();
  const cpu = process.cpuUsage();
  const { simulatedMs, digest, failures, figures } = scenario.run({ nodes, seed, check });
  const wallMs = performance.now() - begin;
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1_000;
  return {
    scenario: scenario.name,
    nodes,
    seed,
    simulatedMs: Math.round(simulatedMs),
    wallMs: Math.round(wallMs),
    cpuMs: Math.round(cpuMs),
    // By the processor's time: what else runs on the machine does not count.
    timesRealTime: Math.round(simulatedMs / cpuMs),
    digest,
    ok: failures.length === 0,
    failures,
    figures,
  };
}

function options() {
  try {
    return parseArgs({
      options: {
        scenario: { type: "string" },
        nodes: { type: "string" },
        seed: { type: "string" },
        runs: { type: "string" },
        check: { type: "boolean" },
        json: { type: "boolean" },
        list: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
}

const given = options();
if (given.list) {
  for (const { name, summary, nodes } of scenarios) process.stdout.write(`${name} (${nodes} nodes): ${summary}\n`);
} else {
  const scenario = scenarios.find(({ name }) => name === given.scenario);
  if (scenario === undefined) usage(`no scenario "${given.scenario ?? ""}"; --list shows them`);
  const nodes = wholeNumber(given.nodes, "nodes", scenario.nodes);
  const seed = wholeNumber(given.seed, "seed", 1);
  const runs = Math.max(1, wholeNumber(given.runs, "runs", 1));
  const check = given.check === true;
  let report = runOnce(scenario, nodes, seed, check);
  for (let run = 1; run < runs && report.ok; run++) report = runOnce(scenario, nodes, seed + run, check);
  if (given.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else for (const [name, value] of Object.entries(report)) process.stdout.write(`${name}: ${JSON.stringify(value)}\n`);
  if (!report.ok) {
    process.stderr.write(`replay: npm run sim -- --scenario ${scenario.name} --nodes ${nodes} --seed ${report.seed}\n`);
    process.exitCode = 1;
  }
}
