/**
 * Our API beside the bare WebRTC stack, in one run: `npm run -s bench:stacks -- --rtc native|werift [--seconds N] [--json]`.
 *
 * Each end is a process of its own; ours and bare take turns, round by round, and each figure is the median of the rounds.
 * Throughput counts what the application at the other end has received. "bulk" sends 64 KiB messages, "burst" hands over
 * 10,000 messages of 1 KiB at once, "small" sends 100-byte messages, "rtt" is a 100-byte message and its echo on an idle
 * connection, "setup" ends with the first echo (ours includes admission). A probe goes out every 20 ms under bulk: over our
 * API a ping, over the bare stack a message and its echo on the one channel that there is. On a shaped path there are five rounds at least, each
 * with connections of its own: a window that SCTP has given up stays small for a minute.
 *
 * Further options: `--rounds N`, `--only bulk,burst,…` (names as in the table).
 */
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { type Api, Contest } from "./stacks-contest.ts";
import type { PathShape } from "./stacks-path.ts";
import { judge, type Line, table } from "./stacks-report.ts";

const { values } = parseArgs({
  options: {
    rtc: { type: "string", default: "native" },
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});
const rtc = values.rtc === "werift" ? "werift" : "native";
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
if (!(seconds > 0) || !Number.isSafeInteger(rounds) || rounds < 1)
  throw new Error("--seconds and --rounds are positive");
const only = new Set(values.only.split(",").filter((name) => name !== ""));

/**
 * A slow path with a quarter of a second of queue, as at many homes; and a long one, wide enough for the 1 MiB window of both
 * stacks, without losses.
 */
const SHAPES: Readonly<Record<string, PathShape>> = {
  "10 Mbit/s": { bytesPerMs: 1_250, delayMs: 5, swayMs: 0, queueBytes: 327_680 },
  "100 ms": { bytesPerMs: 12_500, delayMs: 50, swayMs: 6, queueBytes: 4_194_304 },
};

const lines: Line[] = [];
await using cluster = await openLocalCluster();
await cluster.stopSignaling();

if (["bulk", "burst", "small", "rtt", "setup"].some(wanted)) {
  await using contest = await Contest.open({ rtc, directory: cluster.directory, shape: undefined });
  if (wanted("rtt")) await run("rtt", "µs p50", (api) => contest.echoes(api, 1_000));
  if (wanted("bulk")) await run("bulk", "MB/s", (api) => contest.bulk(api, 65_536, seconds));
  if (wanted("burst")) await run("burst", "k messages/s", (api) => contest.burst(api, 1_024, 10_000));
  if (wanted("small")) await run("small", "k messages/s", (api) => contest.small(api, 100, seconds));
  if (wanted("setup")) await run("setup", "ms", (api) => contest.setup(api), Math.max(rounds, 9));
}
for (const [name, shape] of Object.entries(SHAPES)) {
  if (!wanted(name)) continue;
  const measure = async (api: Api): Promise<Record<string, number>> => {
    await using contest = await Contest.open({ rtc, directory: cluster.directory, shape });
    // A path has to be found out first: more time than on the direct way.
    return await contest.bulk(api, 65_536, seconds * 2, 3_000);
  };
  await run(name, "MB/s", measure, Math.max(rounds, 5));
}
const verdicts = judge(rtc, lines);
if (values.json) process.stdout.write(`${JSON.stringify({ rtc, seconds, rounds, lines, verdicts })}\n`);
else process.stdout.write(table(rtc, lines, verdicts));
process.exitCode = verdicts.every(({ holds }) => holds) ? 0 : 1;

function wanted(name: string): boolean {
  return only.size === 0 || only.has(name);
}

async function run(
  name: string,
  unit: string,
  measure: (api: Api) => Promise<Record<string, number>>,
  count = rounds,
): Promise<void> {
  const figures: Record<Api, Record<string, number>[]> = { ours: [], bare: [] };
  for (let round = 0; round < count; round++) {
    // Each goes first in every other round.
    for (const api of round % 2 === 0 ? (["bare", "ours"] as const) : (["ours", "bare"] as const))
      figures[api].push(await measure(api));
    process.stderr.write(
      values.json
        ? ""
        : `${name} ${round + 1}/${count} ${JSON.stringify([figures.ours.at(-1), figures.bare.at(-1)])}\n`,
    );
  }
  lines.push({ name, unit, ours: medians(figures.ours), bare: medians(figures.bare) });
}

function medians(rows: readonly Record<string, number>[]): Record<string, number> {
  const keys = Object.keys(rows[0] ?? {});
  return Object.fromEntries(
    keys.map((key) => {
      const sorted = rows.map((row) => row[key] ?? 0).sort((a, b) => a - b);
      return [key, sorted[sorted.length >> 1] ?? 0];
    }),
  );
}
