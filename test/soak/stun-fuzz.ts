/**
 * Mutated packets against the STUN and TURN core: no exception, no answer to malformed input, bounded memory.
 *
 *     npm run -s fuzz:stun -- [--packets 1000000] [--seed 1] [--json]
 *
 * The number is for each transport. Exit 1 when something is wrong; the seed that is printed replays it.
 */
import { parseArgs } from "node:util";
import { fuzz } from "../proto/stun/fuzz.ts";

const { values } = parseArgs({
  options: {
    packets: { type: "string", default: "1000000" },
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    json: { type: "boolean", default: false },
  },
});
const packets = Number(values.packets);
const seed = Number(values.seed);
/** Code that gets compiled, and garbage that is not collected yet. */
const ALLOWED_GROWTH_BYTES = 64 * 1_048_576;

let failed = false;
for (const transport of ["udp", "tcp", "tls"] as const) {
  fuzz(transport, 20_000, seed);
  const before = process.memoryUsage().rss;
  const began = performance.now();
  const report = fuzz(transport, packets, seed);
  const grownBytes = process.memoryUsage().rss - before;
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  const isBad = report.offences.length > 0 || grownBytes > ALLOWED_GROWTH_BYTES;
  failed ||= isBad;
  const line = { transport, seed, seconds, grownBytes, ...report };
  process.stdout.write(
    values.json ? `${JSON.stringify(line)}\n` : `${isBad ? "FAILED " : "ok "}${JSON.stringify(line)}\n`,
  );
}
process.exitCode = failed ? 1 : 0;
