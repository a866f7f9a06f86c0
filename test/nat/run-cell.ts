import { setTimeout as pause } from "node:timers/promises";
import type { LinkStatus } from "../../src/status.ts";
import type { WhyReport } from "../../src/why.ts";
import { type Cell, type Kind, kindOf } from "./cells.ts";
import type { Delay } from "./delay-line.ts";
import type { Lab } from "./lab.ts";
import type { LabAgent, StackWord } from "./site.ts";
import { falsehoodOf } from "./why-check.ts";

/** The longest that a pair may take to be linked, and then to be on the path that it should be on, ms. */
const LINK_PATIENCE_MS = 30_000;
const PATH_PATIENCE_MS = 15_000;
/** How long a path may go on moving, ms, and with it what is said of it: one that ICE has settled relayed is tried directly after 10 s. */
const WHY_PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 50;

/** What is noted where `starling why` has said nothing that is not so. */
export const RIGHT = "right";

export interface CellResult {
  readonly cell: string;
  readonly stack: StackWord;
  readonly expected: string;
  /** What both sides say the path is; `none` without a link. */
  readonly path: string;
  readonly kind: Kind;
  /** From the newcomer's log-in to its link, ms. */
  readonly connectMs: number | null;
  /** From its link to the path that is expected, ms. */
  readonly settleMs: number | null;
  /** The stack that carries it, and the newcomer's candidates. */
  readonly rtc: string | null;
  readonly local: string | null;
  readonly remote: string | null;
  /** Smoothed, of the newcomer's link. */
  readonly rttMs: number | null;
  /** `right`, or what is not so in what `starling why` says; null when it was not asked. */
  readonly why: string | null;
  /** Why the link or its path is not as it should be; null when it is. */
  readonly failure: string | null;
}

/** What is hard for the first household. */
export interface Conditions {
  /** Of the packets from and to it. Default 0. */
  readonly lossPercent?: number;
  /** Of its line. Default: none. */
  readonly delay?: Delay;
  /** How long the two may take to be linked, ms. Default 30 s. */
  readonly patienceMs?: number;
}

/** Two fresh agents, on fresh ground: the second one comes when the first is there. */
export async function runCell(
  { network, site, turn }: Lab,
  cell: Cell,
  stack: StackWord,
  { lossPercent = 0, delay, patienceMs = LINK_PATIENCE_MS }: Conditions = {},
): Promise<CellResult> {
  const { hosts, households } = await cell.build(network, delay);
  await network.impair({
    loss: households.slice(0, 1).map(({ address }) => ({ address, perMille: lossPercent * 10 })),
  });
  const agents: LabAgent[] = [];
  try {
    for (const host of hosts) agents.push(await site.agent(host, stack));
    const [first, second] = agents as [LabAgent, LabAgent];
    const result = await meet(cell, [first, second], { leastRttMs: 2 * (delay?.oneWayMs ?? 0), patienceMs });
    // Our server tells how a NAT behaves, and can be sure of it only where its packets arrive.
    const isToBeAsked = result.failure === null && turn === "starling" && lossPercent === 0;
    return { ...result, stack, why: isToBeAsked ? await askWhy(cell, first, second) : null };
  } catch (error) {
    return { ...nothing(cell), stack, why: null, failure: String(error) };
  } finally {
    await Promise.all(agents.map((agent) => agent.leave()));
    await Promise.all(households.map((household) => household.remove()));
  }
}

async function meet(
  cell: Cell,
  [first, second]: readonly [LabAgent, LabAgent],
  { leastRttMs, patienceMs }: { readonly leastRttMs: number; readonly patienceMs: number },
): Promise<Omit<CellResult, "stack" | "why">> {
  const linked = await within(patienceMs, () => second.linkTo(first.id));
  if (!linked)
    return { ...nothing(cell), failure: `no link: ${second.lastFailure() ?? first.lastFailure() ?? "no dial failed"}` };
  const linkedAt = performance.now();
  const misfitOf = (there: LinkStatus, here: LinkStatus): string | undefined =>
    misfit(cell, there, here) ?? tooQuick(here, leastRttMs);
  const settled = await within(PATH_PATIENCE_MS, async () => {
    const [there, here] = await Promise.all([first.linkTo(second.id), second.linkTo(first.id)]);
    return there && here && misfitOf(there, here) === undefined ? { there, here } : undefined;
  });
  const settleMs = settled && Math.round(performance.now() - linkedAt);
  const here = settled?.here ?? (await second.linkTo(first.id));
  const there = settled?.there ?? (await first.linkTo(second.id));
  const path = pathOf(there, here);
  const [loggedIn, up] = [second.loggedAt("signaling ready"), second.loggedAt("link up")];
  return {
    cell: cell.name,
    expected: cell.expected,
    path,
    kind: kindOf(cell, path),
    connectMs: loggedIn !== undefined && up !== undefined ? up - loggedIn : null,
    settleMs: settleMs ?? null,
    rtc: here?.rtc ?? null,
    local: here?.localCandidate ?? null,
    remote: here?.remoteCandidate ?? null,
    rttMs: here?.rttMs ?? null,
    failure: settled ? null : there && here ? (misfitOf(there, here) ?? null) : "the link was lost",
  };
}

/** Why the two ends are not as they should be. */
function misfit(cell: Cell, there: LinkStatus, here: LinkStatus): string | undefined {
  const path = pathOf(there, here);
  if (path !== "direct" && path !== "turn") return `one side says ${there.path}, the other ${here.path}`;
  if (cell.expected === "direct" && path !== "direct") return "relayed, and direct was possible";
  if (cell.expected === "relayed" && path === "direct") return "direct, which is not possible here: the lab is wrong";
  if (cell.local && !here.remoteCandidate?.includes(" 192.168.")) return `not over the LAN but ${here.remoteCandidate}`;
  return undefined;
}

/** A line that does not keep packets as long as it claims proves nothing. */
function tooQuick({ rttMs }: LinkStatus, leastRttMs: number): string | undefined {
  if (leastRttMs === 0 || (rttMs !== null && rttMs >= leastRttMs)) return undefined;
  return `a round trip takes ${rttMs} ms, and the line alone ${leastRttMs}: the lab is wrong`;
}

/** `right`, or what `starling why` says that is not so, and goes on saying. */
async function askWhy(cell: Cell, first: LabAgent, second: LabAgent): Promise<string> {
  let falsehood: string | undefined;
  await within(WHY_PATIENCE_MS, async () => {
    const report = (await second.call("why", { peer: first.id })) as WhyReport;
    falsehood = falsehoodOf(cell, report, (await second.linkTo(first.id))?.path);
    return falsehood === undefined || undefined;
  });
  return falsehood ?? RIGHT;
}

function pathOf(there: LinkStatus | undefined, here: LinkStatus | undefined): string {
  if (!there || !here) return "none";
  return there.path === here.path ? here.path : `${there.path}/${here.path}`;
}

function nothing(cell: Cell): Omit<CellResult, "stack" | "why" | "failure"> {
  const { name, expected } = cell;
  const none = { connectMs: null, settleMs: null, rtc: null, local: null, remote: null, rttMs: null } as const;
  return { cell: name, expected, path: "none", kind: kindOf(cell, "none"), ...none };
}

/** What `look` finds, once it finds something; undefined when it does not in time. */
export async function within<Found>(ms: number, look: () => Promise<Found | undefined>): Promise<Found | undefined> {
  const deadline = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined || performance.now() > deadline) return found;
    await pause(LOOK_EVERY_MS);
  }
}
