/**
 * Spoiled inputs for everything that reads bytes of strangers.
 *
 *     npm run -s fuzz -- [--target NAME] [--inputs 1000000] [--seed 1] [--json]
 *
 * The number is for each target; without one all are run. Exit 1 when an input threw: it is printed, and belongs into
 * test/vectors/fuzz.json with its fix.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const { values } = parseArgs({
  options: {
    target: { type: "string" },
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    json: { type: "boolean", default: false },
  },
});
if (values.target !== undefined && !TARGETS.includes(values.target)) {
  process.stderr.write(`no target ${values.target}; there are ${TARGETS.join(", ")}\n`);
  process.exit(2);
}
for (const name of values.target === undefined ? TARGETS : [values.target]) {
  const began = performance.now();
  const report = await fuzz(name, Number(values.inputs), Number(values.seed));
  const line = { ...report, seconds: Math.round((performance.now() - began) / 100) / 10 };
  const isBad = report.crashes.length > 0;
  process.stdout.write(`${values.json ? "" : isBad ? "FAILED " : "ok "}${JSON.stringify(line)}\n`);
  if (isBad) process.exitCode = 1;
}
