import { describe, expect, test } from "vitest";
import { decreeIdOf, encodeDecree } from "../../../src/proto/decrees/decree.ts";
import { MAX_HELD_MESSAGES, OPEN_LIMIT_MS, QUESTION_RATE } from "../../../src/proto/decrees/limits.ts";
import { decodeDecreeMessage, encodeDecreeMessage } from "../../../src/proto/decrees/messages.ts";
import type { MessageId } from "../../../src/proto/gossip/messages.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { commitmentTo, encodeSecrets, type Secrets } from "../../../src/proto/trust/keychain.ts";
import { first, forged, list, member, NOW, peer, revocation, rotation } from "./lab.ts";
import { FIRST, key, Node, World } from "./world.ts";

const LIST = list(1, [first]);
const second: Secrets = {
  epoch: 2,
  clusterKeys: [
    { epoch: 2, key: key(3) },
    { epoch: 1, key: key(1), until: NOW + 60_000 },
  ],
  keyring: [key(4), key(2)],
};
const rotationTo = (secrets: Secrets, behind: Parameters<typeof rotation>[3] = []) =>
  rotation(secrets.epoch, commitmentTo(encodeSecrets(secrets)), first, behind);

/** `count` members in a row, each linked with the next. */
function row(count: number): { world: World; nodes: Node[] } {
  const world = new World();
  const nodes = Array.from({ length: count }, (_, number) => world.add(new Node(number + 20)));
  for (const node of nodes) world.proclaim(node, LIST);
  for (const [index, node] of nodes.entries()) {
    const next = nodes[index + 1];
    if (next) world.link(node, next);
  }
  world.settle();
  for (const node of nodes) node.outputs.length = 0;
  return { world, nodes };
}

describe("a fresh link", () => {
  test("opens after one message each way where both sides hold the same", () => {
    const world = new World();
    const [a, b] = [world.add(new Node(1)), world.add(new Node(2))];
    world.link(a, b);
    expect(a.of("open")).toEqual([]);
    world.settle();
    expect(world.wire).toHaveLength(2);
    expect(a.of("open")).toMatchObject([{ peer: b.id, rttMs: 10, held: [] }]);
    expect(b.machine.isOpen(a.id)).toBe(true);
    expect(a.machine.deadline()).toBeUndefined();
  });

  test("brings each side what it lacks before the other is heard, and what it said meanwhile after", () => {
    const world = new World();
    const [a, b] = [world.add(new Node(1)), world.add(new Node(2))];
    for (const decree of [LIST, revocation(member(9)), revocation(member(8))]) world.proclaim(a, decree);
    for (const decree of [LIST, revocation(member(7))]) world.proclaim(b, decree);
    world.link(a, b);
    const bytes = Uint8Array.of(0x91, 1);
    world.input(b, { type: "message", peer: a.id, lane: Lane.gossip, bytes });
    expect(b.of("open")).toEqual([]);
    world.settle();
    const order = b.outputs.map(({ type }) => type).filter((type) => type === "decreed" || type === "open");
    expect(order).toEqual(["decreed", "decreed", "decreed", "decreed", "open"]);
    expect(b.of("open")).toMatchObject([{ held: [{ lane: Lane.gossip, bytes }] }]);
    expect(a.set.sums()).toEqual(b.set.sums());
    expect(a.set.size).toBe(4);
  });

  test("of a revoked peer ends at once, also when the revocation comes over that very link or later", () => {
    const { world, nodes } = row(3);
    const [a, b, c] = nodes as [Node, Node, Node];
    world.proclaim(a, revocation({ of: "member", peer: c.id }));
    world.settle();
    expect(b.of("shut")).toEqual([{ type: "shut", peer: c.id, wasOpen: true, revoked: true }]);
    const last = b.of("send").findLast((output) => output.peer === c.id);
    expect(last && decodeDecreeMessage(last.bytes)?.type).toBe("notice");
    world.link(a, c);
    expect(a.of("shut")).toEqual([{ type: "shut", peer: c.id, wasOpen: false, revoked: true }]);
  });

  test("that does not come to terms is given up", () => {
    const world = new World();
    const a = world.add(new Node(1));
    world.input(a, { type: "link-up", peer: peer(2), rttMs: 10 });
    expect(a.machine.deadline()).toBe(NOW + OPEN_LIMIT_MS);
    world.now += OPEN_LIMIT_MS;
    world.input(a, { type: "timeout" });
    expect(a.of("shut")).toEqual([{ type: "shut", peer: peer(2), wasOpen: false, revoked: false }]);
  });

  test("whose peer talks without end before it is open is given up", () => {
    const world = new World();
    const a = world.add(new Node(1));
    world.input(a, { type: "link-up", peer: peer(2), rttMs: 10 });
    for (let count = 0; count <= MAX_HELD_MESSAGES; count++) {
      world.input(a, { type: "message", peer: peer(2), lane: Lane.probe, bytes: Uint8Array.of(0x91, 1) });
    }
    expect(a.of("fault")).toEqual([{ type: "fault", peer: peer(2), fault: "decree-flood" }]);
    expect(a.of("shut")).toHaveLength(1);
  });
});

describe("a revocation", () => {
  test("reaches everybody, and each passes it on after checking it", () => {
    const { world, nodes } = row(6);
    const [a, b] = nodes as [Node, Node];
    world.proclaim(a, revocation(member(9)));
    world.settle();
    expect(b.of("verdict")[0]).toEqual({ type: "verdict", id: "x", verdict: "accept" });
    for (const node of nodes) expect(node.set.revokedSince(peer(9))).toBe(NOW);
  });

  test("that a broadcast has missed is brought by the next comparison", () => {
    const { world, nodes } = row(4);
    const [a] = nodes as [Node];
    a.set.accept(revocation(member(8)), NOW);
    world.proclaim(a, rotationTo(second), second);
    world.settle();
    for (const node of nodes) expect(node.set.revokedSince(peer(8))).toBe(NOW);
  });

  test("that is forged goes no further, and whoever hands it on is blamed", () => {
    const { world, nodes } = row(2);
    const [a, b] = nodes as [Node, Node];
    const payload = encodeDecree(forged(revocation(member(9))));
    world.input(b, { type: "delivered", from: a.id, id: "m" as MessageId, payload });
    expect(b.of("verdict")).toEqual([{ type: "verdict", id: "m", verdict: "reject" }]);
    const tell = encodeDecreeMessage({ type: "tell", bucket: 1, last: true, decrees: [payload] });
    world.input(b, { type: "message", peer: a.id, lane: Lane.gossip, bytes: tell });
    expect(b.of("fault")).toEqual([{ type: "fault", peer: a.id, fault: "decree-unasked" }]);
    expect(b.set.size).toBe(1);
  });

  test("crosses a partition that heals, before anybody on the other side is heard", () => {
    const { world, nodes } = row(6);
    const [, , c, d] = nodes as [Node, Node, Node, Node];
    world.cut(c, d);
    world.proclaim(c, revocation({ of: "member", peer: nodes[5]?.id as never }));
    world.settle();
    expect(nodes[4]?.of("shut")).toEqual([]);
    world.link(c, d);
    world.settle();
    for (const node of nodes.slice(0, 5)) expect(node.set.revokedSince(nodes[5]?.id as never)).toBe(NOW);
    expect(nodes[4]?.of("shut")).toMatchObject([{ revoked: true }]);
  });
});

describe("a rotation", () => {
  test("brings new secrets to everybody over links, and never in a broadcast", () => {
    const { world, nodes } = row(5);
    world.wire.length = 0;
    world.proclaim(nodes[0] as Node, rotationTo(second), second);
    world.settle();
    for (const node of nodes) expect(node.keychain.secrets).toEqual(second);
    for (const node of nodes) expect(node.of("rekeyed")).toEqual([{ type: "rekeyed", epoch: 2 }]);
    const carriers = world.wire.filter(({ bytes }) => contains(bytes, key(3)));
    expect(carriers).toHaveLength(4);
    expect(carriers.some(({ broadcast }) => broadcast)).toBe(false);
  });

  test("that names a revocation is not carried out, nor its secrets passed on, before that revocation is in force", () => {
    const { world, nodes } = row(3);
    const [a, b, c] = nodes as [Node, Node, Node];
    const behind = revocation({ of: "member", peer: c.id });
    const decree = rotationTo(second, [decreeIdOf(behind)]);
    // Its broadcast overtakes that of the revocation.
    world.input(b, { type: "delivered", from: a.id, id: "r" as MessageId, payload: encodeDecree(decree) });
    world.proclaim(a, behind);
    world.proclaim(a, decree, second);
    world.settle();
    expect(b.keychain.epoch).toBe(2);
    expect(b.of("shut")).toMatchObject([{ peer: c.id, revoked: true }]);
    expect(c.keychain.epoch).toBe(1);
    expect(world.wire.filter(({ to, bytes }) => to === c.id && contains(bytes, key(3)))).toEqual([]);
  });

  test("is not asked for by a member that lacks the revocation behind it, and is as soon as that has come", () => {
    const { world, nodes } = row(2);
    const [a, b] = nodes as [Node, Node];
    const behind = revocation(member(9));
    const decree = rotationTo(second, [decreeIdOf(behind)]);
    world.input(b, { type: "delivered", from: a.id, id: "r" as MessageId, payload: encodeDecree(decree) });
    const commitment = commitmentTo(encodeSecrets(second));
    const stand = { type: "compare", sums: b.set.sums(), epoch: 2, commitment, reply: true } as const;
    world.input(b, { type: "message", peer: a.id, lane: Lane.gossip, bytes: encodeDecreeMessage(stand) });
    const wants = (): number => b.of("send").filter(({ bytes }) => decodeDecreeMessage(bytes)?.type === "want").length;
    expect(wants()).toBe(0);
    world.input(b, { type: "delivered", from: a.id, id: "s" as MessageId, payload: encodeDecree(behind) });
    expect(wants()).toBe(1);
  });

  test("keeps a fresh link closed until a member that was away has the new secrets", () => {
    const { world, nodes } = row(2);
    const away = world.add(new Node(5));
    world.proclaim(nodes[0] as Node, rotationTo(second), second);
    world.settle();
    world.link(away, nodes[1] as Node);
    world.settle();
    const order = away.outputs.map(({ type }) => type).filter((type) => type === "rekeyed" || type === "open");
    expect(order).toEqual(["rekeyed", "open"]);
    expect(nodes[1]?.machine.isOpen(away.id)).toBe(true);
  });

  test("takes no other secrets than those it commits to, nor for a rotation that nobody entitled signed", () => {
    const { world, nodes } = row(2);
    const [a, b] = nodes as [Node, Node];
    const stolen: Secrets = { ...second, keyring: [key(9)] };
    world.proclaim(a, rotationTo(second), stolen);
    expect(a.keychain.epoch).toBe(1);
    world.proclaim(a, forged(rotationTo(second)), second);
    expect(a.keychain.secrets).toEqual(FIRST);
    // A member that claims to have them, and passes others.
    const claim = {
      type: "compare",
      sums: b.set.sums(),
      epoch: 2,
      commitment: commitmentTo(encodeSecrets(second)),
    } as const;
    world.settle();
    world.input(b, {
      type: "message",
      peer: a.id,
      lane: Lane.gossip,
      bytes: encodeDecreeMessage({ ...claim, reply: true }),
    });
    const sealed = new TextEncoder().encode(b.id);
    const bytes = encodeDecreeMessage({ type: "pass", sealed: new Uint8Array([...sealed, ...encodeSecrets(stolen)]) });
    world.input(b, { type: "message", peer: a.id, lane: Lane.gossip, bytes });
    expect(b.of("fault")).toEqual([{ type: "fault", peer: a.id, fault: "secrets-forged" }]);
    expect(b.keychain.secrets).toEqual(FIRST);
  });

  test("of two at a time one holds, everywhere the same, and everybody gets its secrets", () => {
    const third: Secrets = { ...second, keyring: [key(7), key(2)] };
    const { world, nodes } = row(6);
    world.proclaim(nodes[0] as Node, rotationTo(second), second);
    world.proclaim(nodes[5] as Node, rotationTo(third), third);
    world.settle();
    const held = nodes.map(({ keychain }) => keychain.secrets);
    for (const secrets of held) expect(secrets).toEqual(held[0]);
  });
});

describe("a peer", () => {
  test("that asks without end is not answered any more", () => {
    const { world, nodes } = row(2);
    const [a, b] = nodes as [Node, Node];
    const bytes = encodeDecreeMessage({ type: "ask", bucket: 0, ids: [] });
    for (let count = 0; count < 2 * QUESTION_RATE.burst; count++) {
      world.input(b, { type: "message", peer: a.id, lane: Lane.gossip, bytes });
    }
    expect(b.of("send").length).toBeLessThanOrEqual(QUESTION_RATE.burst);
    expect(b.of("fault")[0]).toEqual({ type: "fault", peer: a.id, fault: "decree-flood" });
  });

  test("that sends what is no message is at fault, and nothing throws", () => {
    const { world, nodes } = row(2);
    const [a, b] = nodes as [Node, Node];
    for (const tail of [[], [1], [0, 0, 0, 0], [200, 200, 200]]) {
      for (let kind = 96; kind < 104; kind++) {
        const bytes = Uint8Array.of(0x91 + tail.length, kind, ...tail);
        world.input(b, { type: "message", peer: a.id, lane: Lane.gossip, bytes });
      }
    }
    expect(b.of("fault").every(({ fault }) => fault === "decree-malformed")).toBe(true);
    expect(b.of("fault").length).toBeGreaterThan(20);
  });
});

function contains(haystack: Uint8Array, needle: Uint8Array): boolean {
  return Buffer.from(haystack).includes(Buffer.from(needle));
}
