import { setTimeout as pause } from "node:timers/promises";
import type { Lab } from "./lab.ts";
import type { NatName } from "./nat-types.ts";
import type { Household } from "./network.ts";
import type { Received, Sent } from "./numbers.ts";
import { within } from "./run-cell.ts";
import type { LabAgent, StackWord } from "./site.ts";

/**
 * What happens to a pair while it talks: the network changes under numbered messages that go both ways, and none may be lost, doubled
 * or out of order, and they must flow again soon.
 */

/** Between two messages, ms. */
const EVERY_MS = 20;
/** How long the stream runs undisturbed before the change, and after messages flow again, ms. */
const CALM_MS = 2_000;
/** Beyond this a stream is given up as not coming back, ms. */
const PATIENCE_MS = 30_000;
/** The bounds that are asked for, ms. */
export const RECOVERY_MS = 6_000;
export const CLIMB_MS = 60_000;
const FREEZE_MS = 60_000;
const PARTITION_MS = 10_000;

interface Scene {
  readonly lab: Lab;
  readonly households: [Household, Household];
  readonly agents: readonly [LabAgent, LabAgent];
}

export interface Change {
  readonly name: string;
  readonly nats: readonly [NatName, NatName];
  /** Makes the change. Resolves when it is over and messages should flow again. */
  make(scene: Scene): Promise<void>;
  /** Before the agents start. */
  prepare?(scene: Omit<Scene, "agents">): Promise<void>;
  /** The path that both must be on afterwards, and how soon, ms. */
  readonly path?: { readonly word: string; readonly withinMs: number };
}

export interface LiveResult {
  readonly change: string;
  readonly stack: StackWord;
  /**
   * From the end of the change to the first message of the direction that took longer, ms; 0: there was no pause. Where the change
   * breaks nothing and frees a path, how long the longest pause was, which comes when that is taken.
   */
  readonly recoveryMs: number | null;
  /** From the end of the change to the path that is asked for, ms. */
  readonly pathMs: number | null;
  readonly sent: readonly number[];
  readonly received: readonly number[];
  /** Whether a path is asked for. */
  readonly isToClimb: boolean;
  /** What is wrong with the messages: lost, doubled, out of order, or cut off. */
  readonly fault: string | null;
  /** The first thing that is not as it should be, of all of it. */
  readonly failure: string | null;
}

const HOME: readonly [NatName, NatName] = ["port-restricted", "port-restricted"];

export const CHANGES: readonly Change[] = [
  {
    name: "public address changes",
    nats: HOME,
    make: async ({ lab, households }) => {
      households[0] = await lab.network.readdress(households[0]);
    },
  },
  {
    name: "moves to another network",
    nats: HOME,
    make: async ({ lab, households }) => {
      const [host] = households[0].hosts;
      const elsewhere = await lab.network.household({ nat: "full-cone", hosts: 0 });
      if (host) await lab.network.move(host, elsewhere);
    },
  },
  {
    name: "direct path blocked, relay free",
    nats: HOME,
    make: ({ lab, households }) => lab.network.impair({ severed: [addressesOf(households)] }),
  },
  {
    name: "process frozen for 60 s",
    nats: HOME,
    make: async ({ agents: [frozen] }) => {
      frozen.child.process.kill("SIGSTOP");
      await pause(FREEZE_MS);
      frozen.child.process.kill("SIGCONT");
    },
  },
  {
    name: "TURN server restarts",
    nats: ["symmetric", "symmetric"],
    make: async ({ lab }) => {
      await lab.site.stopStun();
      await lab.site.startStun();
    },
  },
  {
    name: "cut off for 10 s",
    nats: HOME,
    make: async ({ lab, households }) => {
      await lab.network.impair({ loss: [{ address: households[0].address, perMille: 1_000 }] });
      await pause(PARTITION_MS);
      await lab.network.impair({});
    },
  },
  {
    name: "direct path is free again",
    nats: HOME,
    prepare: ({ lab, households }) => lab.network.impair({ severed: [addressesOf(households)] }),
    make: ({ lab }) => lab.network.impair({}),
    path: { word: "direct", withinMs: CLIMB_MS },
  },
];

function addressesOf([one, other]: readonly [Household, Household]): readonly [string, string] {
  return [one.address, other.address];
}

export async function runChange(lab: Lab, change: Change, stack: StackWord): Promise<LiveResult> {
  const { network, site } = lab;
  const [one, other] = change.nats;
  const households: [Household, Household] = [
    await network.household({ nat: one }),
    await network.household({ nat: other }),
  ];
  const started: LabAgent[] = [];
  const start = async ({ hosts: [host] }: Household): Promise<LabAgent> => {
    if (!host) throw new Error("every household of a change has a host");
    const agent = await site.agent(host, stack);
    started.push(agent);
    return agent;
  };
  const blank = { change: change.name, stack, recoveryMs: null, pathMs: null, sent: [], received: [] };
  const isToClimb = change.path !== undefined;
  try {
    await change.prepare?.({ lab, households });
    const agents = [await start(households[0]), await start(households[1])] as const;
    return { ...blank, isToClimb, ...(await watch(change, { lab, households, agents })) };
  } catch (error) {
    return { ...blank, isToClimb, fault: String(error), failure: String(error) };
  } finally {
    await network.impair({});
    await Promise.all(started.map((agent) => agent.stop()));
    await Promise.all(households.map((household) => household.remove()));
  }
}

async function watch(change: Change, scene: Scene): Promise<Omit<LiveResult, "change" | "stack" | "isToClimb">> {
  const { agents } = scene;
  const [first, second] = agents;
  const isLinked = await within(
    PATIENCE_MS,
    async () => (await first.linkTo(second.id)) && (await second.linkTo(first.id)),
  );
  if (!isLinked) throw new Error("no link to begin with");
  await Promise.all([
    first.callLab("send", { peer: second.id, everyMs: EVERY_MS }),
    second.callLab("send", { peer: first.id, everyMs: EVERY_MS }),
  ]);
  await pause(CALM_MS);
  await change.make(scene);
  const changedAt = Date.now();
  const pathMs = change.path ? await pathWithin(agents, change.path, changedAt) : null;
  await flowing(agents, changedAt);
  await pause(CALM_MS);
  const sent = (await Promise.all(agents.map((agent) => agent.callLab("finish")))) as Sent[];
  const received = await drained(agents);
  const recoveries = received.map((at) => recoveryOf(at, changedAt, change.path !== undefined));
  const recoveryMs = recoveries.includes(null) ? null : Math.max(...recoveries.map((ms) => ms ?? 0));
  const fault = faultOf(sent, received);
  return {
    recoveryMs,
    pathMs,
    sent: sent.map(({ count }) => count),
    received: received.map(({ count }) => count).reverse(),
    fault,
    failure: fault ?? tardinessOf(change, recoveryMs, pathMs),
  };
}

/** Waits until messages arrive at both ends that came after the change. */
async function flowing(agents: readonly LabAgent[], changedAt: number): Promise<void> {
  await within(PATIENCE_MS, async () => {
    const seen = (await Promise.all(agents.map((agent) => agent.callLab("received")))) as Received[];
    const isFlowing = seen.every(
      ({ lastAt, end }) => end !== null || lastAt > Math.max(changedAt, Date.now() - CALM_MS / 4),
    );
    return (isFlowing && Date.now() > changedAt + CALM_MS) || undefined;
  });
}

/** What each end has received once all that was sent has come, or nothing more comes. */
async function drained(agents: readonly LabAgent[]): Promise<Received[]> {
  const look = async (): Promise<Received[]> =>
    (await Promise.all(agents.map((agent) => agent.callLab("received")))) as Received[];
  await within(RECOVERY_MS, async () => (await look()).every(({ end }) => end !== null) || undefined);
  return look();
}

/** From the change to the message that ended the last pause after it, or the longest of these; null when no message came. */
function recoveryOf({ gaps, lastAt }: Received, changedAt: number, isLongestAsked: boolean): number | null {
  if (lastAt <= changedAt) return null;
  const after = gaps.filter(({ endedAt }) => endedAt > changedAt);
  return Math.max(0, ...after.map(({ endedAt, ms }) => (isLongestAsked ? ms : endedAt - changedAt)));
}

async function pathWithin(
  agents: readonly [LabAgent, LabAgent],
  { word, withinMs }: { readonly word: string; readonly withinMs: number },
  since: number,
): Promise<number | null> {
  const [one, other] = agents;
  const found = await within(withinMs, async () => {
    const [here, there] = await Promise.all([one.linkTo(other.id), other.linkTo(one.id)]);
    return (here?.path === word && there?.path === word) || undefined;
  });
  return found ? Date.now() - since : null;
}

function faultOf(sent: readonly Sent[], received: readonly Received[]): string | null {
  const failed =
    sent.find(({ failure }) => failure !== null)?.failure ?? received.find(({ end }) => end?.includes("Error"))?.end;
  if (failed) return failed;
  const disorder = received.flatMap(({ faults }) => faults)[0];
  if (disorder !== undefined) return `out of order: ${disorder}`;
  const [first, second] = received;
  return first?.count === sent[1]?.count && second?.count === sent[0]?.count ? null : "messages were lost";
}

function tardinessOf({ path }: Change, recoveryMs: number | null, pathMs: number | null): string | null {
  if (recoveryMs === null) return "no message came after the change";
  if (recoveryMs > RECOVERY_MS) return `messages flowed again only after ${recoveryMs} ms`;
  return path && pathMs === null ? `not ${path.word} within ${path.withinMs} ms` : null;
}
