import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../until.ts";
import { RoutingLab } from "./routing-lab.ts";

/**
 * The mesh carries its own signaling. Method: five agents in one process over real WebRTC, all linked with the help of a
 * signaling server, which then ends for good; connections are cut, and their ends have to find each other again.
 */

let lab: RoutingLab;

beforeAll(async () => {
  lab = await RoutingLab.open(5, "native");
}, 30_000);

afterAll(async () => {
  await lab[Symbol.asyncDispose]();
}, 20_000);

describe("five agents whose signaling server is gone", () => {
  test("the first link of each was signaled by the server, and status says so", () => {
    const signaledBy = lab.agents.flatMap((agent) => agent.status().links.map((link) => link.signaledBy));
    expect(signaledBy).toHaveLength(20);
    // The first link of a newcomer needs the server; the others may have come by either.
    for (const agent of lab.agents)
      expect(agent.status().links.some((link) => link.signaledBy === "server")).toBe(true);
  });

  test("links that are cut come back through the mesh, with nobody declared down", async () => {
    const downs: string[] = [];
    for (const agent of lab.agents) agent.addEventListener("memberdown", ({ member }) => downs.push(member.name));
    await lab.cluster.stopSignaling();
    await until("nobody has a server", () =>
      lab.agents.every((agent) => agent.status().signaling[0]?.state !== "ready"),
    );
    const begin = Date.now();
    for (const [a, b] of [
      [0, 1],
      [2, 3],
      [4, 0],
    ] as const) {
      lab.cut(a, b);
      await until("the cut is noticed", () => !lab.linked(a, b));
    }
    await lab.complete();
    expect(downs).toEqual([]);
    const fresh = lab.signaledBy(Date.now() - begin);
    expect(fresh).toHaveLength(6);
    expect(new Set(fresh)).toEqual(new Set(["mesh"]));
  });

  test("an agent that is left with one link gets all the others back", async () => {
    for (const other of [0, 1, 2]) lab.cut(4, other);
    await until("one link is left", () => lab.agent(4).status().links.length === 1);
    await lab.complete();
    for (const link of lab
      .agent(4)
      .status()
      .links.filter(({ peer }) => peer !== lab.agent(3).id))
      expect(link.signaledBy).toBe("mesh");
  });

  test("a connection that falls silent is replaced", async () => {
    lab.freeze(1, 2);
    const before = lab
      .agent(1)
      .status()
      .links.find(({ peer }) => peer === lab.agent(2).id)?.localCandidate;
    const isFresh = (): boolean => {
      const link = lab
        .agent(1)
        .status()
        .links.find(({ peer }) => peer === lab.agent(2).id);
      return link !== undefined && link.localCandidate !== before && link.signaledBy === "mesh";
    };
    await until("another link stands", isFresh);
    await lab.complete();
  });
});
