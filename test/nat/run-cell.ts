import { setTimeout as pause } from "node:timers/promises";
import type { LinkStatus } from "../../src/status.ts";
import type { PathAccount, WhyReport } from "../../src/why.ts";
import { type Cell, type Kind, kindOf } from "./cells.ts";
import type { Lab } from "./lab.ts";
import type { NatName } from "./nat-types.ts";
import { verdictOn } from "./netcheck.ts";
import type { LabAgent, StackWord } from "./site.ts";

/** The longest that a pair may take to be linked, and then to be on the path that it should be on, ms. */
const LINK_PATIENCE_MS = 30_000;
const PATH_PATIENCE_MS = 15_000;
/** The longest that an account of it may be behind, ms: a path may still move when it has just been made. */
const WHY_PATIENCE_MS = 5_000;
const LOOK_EVERY_MS = 50;

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
  /** Why it is not as it should be; null when it is. */
  readonly failure: string | null;
}

/**
 * Two fresh agents, on fresh ground: the second one comes when the first is there. `lossPercent` of the packets from and to the first
 * one's household are lost.
 */
export async function runCell(
  { network, site, turn }: Lab,
  cell: Cell,
  stack: StackWord,
  lossPercent = 0,
): Promise<CellResult> {
  const { hosts, households } = await cell.build(network);
  await network.impair({
    loss: households.slice(0, 1).map(({ address }) => ({ address, perMille: lossPercent * 10 })),
  });
  const agents: LabAgent[] = [];
  try {
    for (const host of hosts) agents.push(await site.agent(host, stack));
    const [first, second] = agents as [LabAgent, LabAgent];
    const result = await meet(cell, first, second);
    const falsehood =
      result.failure === null && turn === "starling" ? await falsehoodOf(cell, first, second) : undefined;
    return { ...result, failure: falsehood ?? result.failure, stack };
  } catch (error) {
    return { ...nothing(cell), stack, failure: String(error) };
  } finally {
    await Promise.all(agents.map((agent) => agent.leave()));
    await Promise.all(households.map((household) => household.remove()));
  }
}

async function meet(cell: Cell, first: LabAgent, second: LabAgent): Promise<Omit<CellResult, "stack">> {
  const linked = await within(LINK_PATIENCE_MS, () => second.linkTo(first.id));
  if (!linked)
    return { ...nothing(cell), failure: `no link: ${second.lastFailure() ?? first.lastFailure() ?? "no dial failed"}` };
  const linkedAt = performance.now();
  const settled = await within(PATH_PATIENCE_MS, async () => {
    const [there, here] = await Promise.all([first.linkTo(second.id), second.linkTo(first.id)]);
    return there && here && misfit(cell, there, here) === undefined ? { there, here } : undefined;
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
    failure: settled ? null : there && here ? (misfit(cell, there, here) ?? null) : "the link was lost",
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

/** What `starling why` says that is not so, and goes on saying; undefined when it is right. */
async function falsehoodOf(
  { nats: [there, here] }: Cell,
  first: LabAgent,
  second: LabAgent,
): Promise<string | undefined> {
  let falsehood: string | undefined;
  await within(WHY_PATIENCE_MS, async () => {
    const report = (await second.call("why", { peer: first.id })) as WhyReport;
    const path = (await second.linkTo(first.id))?.path;
    falsehood =
      report.path === path
        ? (misjudged(here, report.ours) ?? misjudged(there, report.theirs))
        : `why says that the path is ${report.path}, and it is ${path}`;
    return falsehood === undefined || undefined;
  });
  return falsehood;
}

function misjudged(nat: NatName, account: PathAccount | null): string | undefined {
  if (!account) return "why has nothing from the other side";
  const { udp, mapping, filtering, kind } = verdictOn(nat);
  const said = [account.udp, account.mapping, account.filtering, account.nat].join(", ");
  const known = [udp, mapping, filtering, kind].join(", ");
  return said === known ? undefined : `why says that ${nat} is ${said}, and it is ${known}`;
}

function pathOf(there: LinkStatus | undefined, here: LinkStatus | undefined): string {
  if (!there || !here) return "none";
  return there.path === here.path ? here.path : `${there.path}/${here.path}`;
}

function nothing(cell: Cell): Omit<CellResult, "stack" | "failure"> {
  const { name, expected } = cell;
  const none = { connectMs: null, settleMs: null, rtc: null, local: null, remote: null } as const;
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
