import type { Checker } from "./checkers.ts";
import type { MeshRun } from "./mesh-run.ts";
import { isAtLeast } from "./write-journal.ts";

/** Checkers that look into meshes: more than every kind of node can show. */

/** After the quiet tail all nodes that run have one list: the same members, in the same states, under the same records. */
export function viewsAreEqual(run: MeshRun): Checker {
  return {
    name: "views are equal",
    after() {
      const failures: string[] = [];
      let first: { readonly index: number; readonly view: ReadonlyMap<number, string> } | undefined;
      for (const index of running(run)) {
        const view = new Map<number, string>();
        for (const { member, state, boot, incarnation } of run.view(index)) {
          view.set(member, `${state} ${boot}.${incarnation}`);
        }
        first ??= { index, view };
        for (const member of new Set([...first.view.keys(), ...view.keys()])) {
          const [ours, theirs] = [view.get(member) ?? "unknown", first.view.get(member) ?? "unknown"];
          if (ours === theirs) continue;
          failures.push(`node ${member} is ${ours} to node ${index}, ${theirs} to node ${first.index}`);
        }
      }
      return failures;
    },
  };
}

/** After the quiet tail all nodes that run have the same buckets: a node that lacks one differs too. */
export function bucketsAreEverywhere(run: MeshRun): Checker {
  return {
    name: "buckets are everywhere",
    after() {
      const all = new Map<string, number>();
      const nodes = running(run);
      for (const index of nodes) for (const [name] of run.replicas(index)) all.set(name, (all.get(name) ?? 0) + 1);
      return [...all]
        .filter(([, count]) => count !== nodes.length)
        .map(([name, count]) => `bucket ${name} is on ${count} of ${nodes.length} nodes`);
    },
  };
}

/**
 * A write that was acknowledged, and is on the disk of a node that runs, is what every node that runs reads, unless a later
 * write to its key is. Crashes in between take nothing but what no disk had yet.
 */
export function acknowledgedWritesSurvive(run: MeshRun): Checker {
  return {
    name: "acknowledged writes survive",
    after() {
      const failures: string[] = [];
      const nodes = running(run);
      for (const { bucket, entry, acknowledged, holders } of run.journal.versions) {
        if (!acknowledged || !holders.some((node) => run.stateOf(node) === "running")) continue;
        for (const index of nodes) {
          const told = run.journal.latest(index, bucket, entry.key);
          if (told === undefined || !isAtLeast(told, entry)) {
            failures.push(
              `node ${index} has lost ${bucket}/${entry.key} of ${entry.writtenAt}, held by ${holders.length}`,
            );
          }
        }
      }
      return failures;
    },
  };
}

/** What a node reads is what it told watchers of last. */
export function watchersAreTold(run: MeshRun): Checker {
  return {
    name: "watchers are told",
    after() {
      const failures: string[] = [];
      for (const index of running(run)) {
        const { replication } = run.mesh(index) ?? {};
        const seen = new Set<string>();
        for (const { bucket, entry } of run.journal.versions) {
          const name = `${bucket}/${entry.key}`;
          if (seen.has(name)) continue;
          seen.add(name);
          const told = run.journal.latest(index, bucket, entry.key);
          const stored = replication?.get(bucket, entry.key);
          const live = told === undefined || told.value === null ? undefined : told.version;
          if (stored?.version !== live) failures.push(`node ${index} reads another ${name} than it told of`);
        }
      }
      return failures;
    },
  };
}

/** Nobody misbehaves, so nobody is blamed. */
export function nobodyIsBlamed(run: MeshRun): Checker {
  return { name: "nobody is blamed", during: () => run.blames.splice(0) };
}

function running(run: MeshRun): number[] {
  return Array.from({ length: run.size }, (_, index) => index).filter((index) => run.stateOf(index) === "running");
}
