import { describe, expect, test } from "vitest";
import { peerIdOf } from "../../src/proto/peer-id.ts";
import { SeededRandom } from "../../src/proto/random.ts";
import { MeshNode } from "../sim/mesh-node.ts";
import { FakeSigner } from "../sim/signer.ts";

describe("a link that dies before the two have compared decrees", () => {
  test("counts as a dial that failed: the next wish for a link is a dial at once", () => {
    const peer = peerIdOf(new Uint8Array(32).fill(2));
    const id = peerIdOf(new Uint8Array(32).fill(1));
    const context = { index: 0, id, boot: 1, random: new SeededRandom(1), now: 0, disk: new Map() };
    const { mesh } = new MeshNode(context, { signer: new FakeSigner(1) });

    expect(mesh.handle({ type: "try", peer }, 100)).toContainEqual({ type: "dial", peer });
    mesh.handle({ type: "link-up", peer, rttMs: 1 }, 200);
    expect(mesh.links.has(peer)).toBe(false);
    mesh.handle({ type: "link-down", peer }, 300);

    expect(mesh.handle({ type: "try", peer }, 300)).toContainEqual({ type: "dial", peer });
  });
});
