import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeDecree, type SignedDecree } from "../../src/proto/decrees/decree.ts";
import { decodeDecreeMessage } from "../../src/proto/decrees/messages.ts";
import { commitmentTo, decodeSecrets, encodeSecrets } from "../../src/proto/trust/keychain.ts";
import * as lab from "../proto/decrees/lab.ts";
import { FIRST, key, Node, World } from "../proto/decrees/world.ts";

const { first, second, third, root } = lab;
const signers = fc.constantFrom(first, second, third, root, lab.stranger);

const aList = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.uniqueArray(fc.constantFrom(first, second, third), { minLength: 1 }))
  .map(([version, keys]) => lab.list(version, keys));
const aRevocation = fc
  .tuple(
    fc.oneof(
      fc.integer({ min: 1, max: 6 }).map(lab.member),
      fc.integer({ min: 1, max: 4 }).map(lab.token),
      fc.constantFrom(first, second).map(lab.issuer),
    ),
    signers,
    fc.integer({ min: 0, max: 3 }),
  )
  .map(([target, by, later]) => lab.revocation(target, by, lab.NOW + later));
const aRotation = fc
  .tuple(fc.integer({ min: 2, max: 4 }), fc.integer({ min: 1, max: 3 }), signers)
  .map(([epoch, fill, by]) => lab.rotation(epoch, new Uint8Array(32).fill(fill), by));
const aSuccession = fc.constantFrom(lab.heir, lab.stranger).map((to) => lab.succession(1, to));
const anHeirsList = fc.integer({ min: 1, max: 3 }).map((version) => lab.list(version, [first, second], lab.heir));
const aDecree = fc.oneof(aList, aRevocation, aRotation, aSuccession, anHeirsList, aRevocation.map(lab.forged));

test("members that have heard the same decrees in any order, some only of each other, hold the same in the end", () => {
  const heard = fc.array(fc.tuple(aDecree, fc.integer({ min: 0, max: 3 })), { maxLength: 24 });
  const cuts = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 })), { maxLength: 4 });
  fc.assert(
    fc.property(heard, cuts, fc.infiniteStream(fc.nat()), (decrees, partitions, choices) => {
      const world = new World();
      const nodes = [1, 2, 3, 4].map((number) => world.add(new Node(number + 40)));
      const pick = (count: number): number => (choices.next().value ?? 0) % count;
      const join = (): void => {
        for (const a of nodes) for (const b of nodes) if (a.id < b.id && !world.linked(a, b)) world.link(a, b);
      };
      join();
      for (const [index, [decree, at]] of decrees.entries()) {
        world.proclaim(nodes[at] as Node, decree);
        if (index % 3 === 0) world.settle(pick);
        const [a, b] = partitions[index % 5] ?? [0, 0];
        if (a !== b) world.cut(nodes[a] as Node, nodes[b] as Node);
      }
      // Two rounds: a list may entitle what was refused before it came.
      for (let round = 0; round < 2; round++) {
        for (const a of nodes) for (const b of nodes) if (a.id < b.id) world.cut(a, b);
        join();
        world.settle(pick);
      }
      for (const node of nodes) expect(node.set.sums()).toEqual(nodes[0]?.set.sums());
      for (const node of nodes) expect(node.of("fault")).toEqual([]);
      for (const a of nodes) for (const b of nodes) if (a !== b) expect(a.machine.isOpen(b.id)).toBe(true);
    }),
    { numRuns: 150 },
  );
});

test("what was in force once changes by nothing that was offered before: no replay, no older decree, no forgery", () => {
  fc.assert(
    fc.property(fc.array(aDecree, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 40 }), (decrees, replays) => {
      // Three times: a succession entitles an heir's list, which entitles what was refused before it came.
      const set = lab.setWith(...decrees, ...decrees, ...decrees);
      const sums = set.sums();
      const standing = [1, 2, 3, 4, 5, 6].map((number) => set.revokedSince(lab.peer(number)));
      for (const choice of replays) {
        const decree = decrees[choice % Math.max(1, decrees.length)];
        if (decree) set.offer(encodeDecree(choice % 2 ? decree : lab.forged(decree)), lab.NOW);
      }
      expect(set.sums()).toEqual(sums);
      expect([1, 2, 3, 4, 5, 6].map((number) => set.revokedSince(lab.peer(number)))).toEqual(standing);
    }),
  );
});

test("no bytes make the set or the reader of messages throw, nor change what is in force", () => {
  const genuine: SignedDecree[] = [lab.list(1, [first]), lab.revocation(lab.member(1))];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.nat({ max: 255 }), (bytes, at, value) => {
      const set = lab.setWith(...genuine);
      const sums = set.sums();
      set.offer(bytes, lab.NOW);
      const altered = encodeDecree(genuine[at % 2] as SignedDecree);
      altered[at % altered.length] = value;
      set.offer(altered, lab.NOW);
      expect(set.sums()).toEqual(sums);
      decodeDecreeMessage(bytes);
      decodeDecreeMessage(Uint8Array.of(0x95, 96 + (at % 6), ...bytes));
      decodeSecrets(bytes);
    }),
    { numRuns: 500 },
  );
});

test("secrets come back as they were sent, and a hash commits to every bit of them", () => {
  const encoded = encodeSecrets({
    ...FIRST,
    clusterKeys: [
      { epoch: 5, key: key(8) },
      { epoch: 2, key: key(9), until: 7 },
    ],
  });
  expect(encodeSecrets(decodeSecrets(encoded) as never)).toEqual(encoded);
  fc.assert(
    fc.property(fc.nat({ max: encoded.length - 1 }), fc.nat({ max: 7 }), (at, bit) => {
      const altered = encoded.slice();
      altered[at] = (altered[at] as number) ^ (1 << bit);
      expect(commitmentTo(altered)).not.toEqual(commitmentTo(encoded));
    }),
  );
});
