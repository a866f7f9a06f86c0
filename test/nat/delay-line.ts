import { startChild } from "./child.ts";
import { Namespace } from "./namespace.ts";

/** How long packets are under way on a line, and how much longer at random, ms. They stay in order. */
export interface Delay {
  readonly oneWayMs: number;
  readonly jitterMs: number;
}

/** An interface that is yet to be made. */
export interface Plug {
  readonly where: Namespace;
  readonly dev: string;
}

/** Connects two namespaces by a line with this delay; returns the namespace that keeps it. */
export async function layDelayLine(label: string, one: Plug, other: Plug, delay: Delay): Promise<Namespace> {
  const line = await Namespace.create(label);
  const ends = ["near", "far"] as const;
  for (const [index, { where, dev }] of [one, other].entries())
    await where.ip(`link add ${dev} type veth peer name ${ends[index]} netns ${line.name}`);
  await line.ip(
    ...ends.flatMap((end) => [
      `link add link ${end} name ${end}-tap type macvtap mode passthru`,
      `link set ${end} up`,
      `link set ${end}-tap up`,
    ]),
  );
  const args = [...ends.map((end) => `${end}-tap`), `${delay.oneWayMs}`, `${delay.jitterMs}`];
  await startChild(line, "delay-mover.ts", args).line("ready");
  return line;
}
