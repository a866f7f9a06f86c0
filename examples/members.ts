/** Prints who comes and who goes: `npm run example:members`. */
import type { Agent } from "../src/index.ts";
import { openLocalCluster } from "./local-cluster.ts";

await using cluster = await openLocalCluster();
const watcher = await cluster.join("watcher");
watcher.addEventListener("memberup", ({ member }) => console.log(`${member.name} is up (${member.id.slice(0, 8)})`));
watcher.addEventListener("memberdown", ({ member }) => console.log(`${member.name} is down`));
watcher.addEventListener("memberleft", ({ member }) => console.log(`${member.name} has left`));

/** Resolves when the watcher has heard `type` of the member named `name`. */
function heard(type: "memberup" | "memberdown" | "memberleft", name: string): Promise<void> {
  return new Promise((resolve) => {
    watcher.addEventListener(type, ({ member }) => {
      if (member.name === name) resolve();
    });
  });
}

async function arrive(name: string): Promise<Agent> {
  const up = heard("memberup", name);
  const linked = new Promise((resolve) => watcher.addEventListener("linkup", resolve, { once: true }));
  const agent = await cluster.join(name);
  await Promise.all([up, linked]);
  return agent;
}

const alice = await arrive("alice");
const bob = await arrive("bob");

// Alice says goodbye, so she has left at once; Bob vanishes, so the others must find out that he is down.
const left = heard("memberleft", "alice");
await alice.leave();
await left;
const down = heard("memberdown", "bob");
await bob.close();
await down;

console.log(
  `in the end: ${watcher
    .members()
    .map(({ name, state }) => `${name} ${state}`)
    .sort()
    .join(", ")}`,
);
