/**
 * Goal: hostile members, alone or in league, evict nobody, keep no dead member alive, invent nobody, and hardly keep a
 * broadcast from anybody.
 *
 * Method: one member accuses everybody, one sends again what it has heard, one invents members, one floods its links, one hands
 * nothing on; and a tenth of the members are in league: they accuse the same victims under the same ids at the same moments, lie
 * about them and about the dead when they are asked to probe, and hand nothing on. Victims are those of whose observers most are
 * hostile. They act as such for two minutes. Meanwhile five honest members are killed and honest members publish. No honest
 * member that runs may be declared down by an honest one; every honest one knows of every death; publications reach 99.9 % of the
 * honest members that run.
 */
import { observersOf } from "../../../src/proto/overlay/neighbours.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { pick, SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { Census, quantile } from "../census.ts";
import { type Malice, Plot } from "../hostile-node.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import { beginSettled } from "../settle.ts";
import type { Scenario } from "./scenario.ts";

const ATTACK_MS = 120_000;
/** Deaths and publications end before the attack does: so long, everything has to have arrived. */
const QUIET_MS = 30_000;
const LONERS: readonly Malice[] = ["accuser", "replayer", "inventor", "flooder", "dropper"];
const COLLUDING_SHARE = 0.1;
const VICTIMS = 20;
const DEATHS = 5;
const PUBLISH_EVERY_MS = 1_000;
const REACHED_SHARE = 0.999;
/** Hostile observers that would be enough to end a suspicion. */
const ENOUGH = 3;

export const hostile: Scenario = {
  name: "hostile",
  summary: "members that accuse, replay, invent, flood, drop, and a tenth in league",
  nodes: 1_000,
  run({ nodes, seed }) {
    const random = new SeededRandom(seed).fork("hostile");
    const order = shuffle(
      random,
      Array.from({ length: nodes }, (_, index) => index),
    );
    const colluders = Math.round(nodes * COLLUDING_SHARE);
    const cast = new Map<number, Malice>();
    for (const [place, malice] of LONERS.entries()) cast.set(order[place] as number, malice);
    for (const index of order.slice(LONERS.length, LONERS.length + colluders)) cast.set(index, "colluder");
    const honest = order.slice(LONERS.length + colluders);
    const plot = new Plot(random.fork("plot"));
    const posts = new Posts();
    const census = new Census(() => run, new Set(cast.keys()));
    const witness = (index: number, event: MeshEvent): void => {
      census.watch(index, event);
      if (event.type === "post") posts.arrived(index, event.post.payload);
    };
    const run: MeshRun = new MeshRun({
      nodes,
      seed,
      cast: { plot, maliceOf: (index) => cast.get(index) },
      witness,
    });
    const { world } = run;
    const failures: string[] = [];
    beginSettled(run);
    const surrounded = chooseVictims(run, plot, honest, cast);
    plot.begun = true;
    const isVictim = (index: number): boolean => plot.victims.has(world.idOf(index));
    const doomed = shuffle(
      random,
      honest.filter((index) => !isVictim(index)),
    ).slice(0, DEATHS);
    doomed.forEach((index, place) => {
      world.after(((ATTACK_MS - QUIET_MS) * (place + 1)) / (DEATHS + 1), () => {
        census.kill(index);
        plot.undead.add(world.idOf(index));
      });
    });
    for (let passed = 0; passed < ATTACK_MS; passed += PUBLISH_EVERY_MS) {
      const author = pick(random, honest) as number;
      if (passed < ATTACK_MS - QUIET_MS && run.stateOf(author) === "running") posts.publish(run, author);
      world.run(PUBLISH_EVERY_MS);
    }
    const survivors = honest.filter((index) => run.stateOf(index) === "running");
    const missed = census.detections().reduce((sum, detection) => sum + detection.missed, 0);
    const undead = survivors.reduce((sum, index) => sum + countUndead(run, index, doomed), 0);
    const invented = survivors.reduce((sum, index) => sum + Math.max(0, memberCount(run, index) - nodes), 0);
    const reached = posts.reachedBy(survivors);
    const { falseDeathsAtHealthy } = census;
    if (falseDeathsAtHealthy > 0) failures.push(`honest members were declared down ${falseDeathsAtHealthy} times`);
    if (missed > 0) failures.push(`${missed} times a death was not seen`);
    if (undead > 0) failures.push(`${undead} times somebody dead counts as there in the end`);
    if (invented > 0) failures.push(`${invented} members were invented`);
    if (reached < REACHED_SHARE) failures.push(`broadcasts reached ${reached} of the honest members`);
    const times = census.detectionTimes();
    const figures = {
      hostile: cast.size,
      victims: plot.victims.size,
      victimsWithThreeHostileObservers: surrounded,
      falseDeathsAtHealthy,
      detectionP50Ms: Math.round(quantile(times, 0.5)),
      detectionP99Ms: Math.round(quantile(times, 0.99)),
      deathsNotSeen: missed,
      published: posts.count,
      reachedShare: Math.round(reached * 1e6) / 1e6,
      faults: [...run.faults].map(([name, count]) => `${count} ${name}`).join(", "),
      forgeries: world.stats.forgeries,
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};

/** Takes those for victims of whose observers most are hostile; returns how many have enough of them to end a suspicion. */
function chooseVictims(run: MeshRun, plot: Plot, honest: readonly number[], cast: ReadonlyMap<number, Malice>): number {
  const { rings } = run.mesh(honest[0] as number)?.membership ?? {};
  const counts: { readonly id: PeerId; readonly against: number }[] = [];
  for (const index of honest) {
    const id = run.world.idOf(index);
    const seat = rings?.seat(id);
    if (rings === undefined || seat === undefined) continue;
    let against = 0;
    for (const observer of observersOf(rings, seat)) if (cast.has(run.world.indexOf(observer) ?? -1)) against++;
    counts.push({ id, against });
  }
  counts.sort((a, b) => b.against - a.against);
  for (const { id } of counts.slice(0, VICTIMS)) plot.victims.add(id);
  return counts.slice(0, VICTIMS).filter(({ against }) => against >= ENOUGH).length;
}

function countUndead(run: MeshRun, index: number, doomed: readonly number[]): number {
  let count = 0;
  for (const { member, state } of run.view(index)) {
    if (doomed.includes(member) && (state === "alive" || state === "suspect")) count++;
  }
  return count;
}

function memberCount(run: MeshRun, index: number): number {
  const { alive = 0, suspect = 0, down = 0, left = 0 } = run.mesh(index)?.membership.statistics().members ?? {};
  return alive + suspect + down + left;
}

/** What was published, and where it arrived. */
class Posts {
  readonly #arrivals: Set<number>[] = [];

  get count(): number {
    return this.#arrivals.length;
  }

  publish(run: MeshRun, author: number): void {
    const payload = new Uint8Array(100);
    new DataView(payload.buffer).setUint32(0, this.#arrivals.length);
    this.#arrivals.push(new Set());
    run.world.command(author, { type: "publish", topic: "news", payload });
  }

  arrived(index: number, payload: Uint8Array): void {
    this.#arrivals[new DataView(payload.buffer, payload.byteOffset, payload.length).getUint32(0)]?.add(index);
  }

  /** Of all that should have arrived at these nodes, the share that did. */
  reachedBy(nodes: readonly number[]): number {
    let arrived = 0;
    for (const arrivals of this.#arrivals) for (const index of nodes) if (arrivals.has(index)) arrived++;
    return arrived / (this.#arrivals.length * nodes.length);
  }
}
