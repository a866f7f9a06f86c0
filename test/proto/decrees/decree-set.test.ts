import { describe, expect, test } from "vitest";
import { equalBytes } from "../../../src/proto/bytes.ts";
import {
  decodeDecree,
  decreeIdOf,
  encodeDecree,
  foundationOf,
  type SignedDecree,
  signDecree,
} from "../../../src/proto/decrees/decree.ts";
import { DecreeSet, differing } from "../../../src/proto/decrees/decree-set.ts";
import { MAX_REVOCATIONS_OF_A_SIGNER } from "../../../src/proto/decrees/limits.ts";
import {
  encodeRevocation,
  MAX_TOKEN_MATTERS_MS,
  parseTarget,
  targetText,
} from "../../../src/proto/decrees/revocation.ts";
import type { Authority } from "../../../src/proto/trust/crypto.ts";
import {
  acceptIssuers,
  decodeSignedIssuers,
  encodeSignedIssuers,
  kidOf,
  type SignedHeir,
  type SignedIssuers,
} from "../../../src/proto/trust/issuers.ts";
import * as lab from "./lab.ts";
import {
  first,
  heir,
  list,
  member,
  NOW,
  peer,
  revocation,
  root,
  rotation,
  second,
  setWith,
  stranger,
  succession,
  third,
  token,
} from "./lab.ts";

const secrets = (fill: number) => new Uint8Array(32).fill(fill);
const equal = ({ body }: SignedDecree, to: Authority) => equalBytes(body, succession(1, to).body);
const outcome = (set: DecreeSet, decree: SignedDecree, now = NOW) => set.accept(decree, now).outcome;

describe("a revocation", () => {
  test("by an issuing key of the list takes its member out, from its `since` on and at once", () => {
    const set = setWith(list(1, [first]));
    expect(outcome(set, revocation(member(9), first, NOW + 50_000))).toBe("news");
    expect(set.revokedSince(peer(9))).toBe(NOW + 50_000);
    expect(set.voids({ subject: peer(9) })).toBe(true);
    expect(set.voids({ subject: peer(9) }, NOW + 49_999)).toBe(false);
    expect(set.voids({ subject: peer(9) }, NOW + 50_000)).toBe(true);
    expect(set.voids({ subject: peer(8) })).toBe(false);
  });

  test("names a token or an issuing key as well", () => {
    const set = setWith(list(1, [first, second]), revocation(token(3)), revocation(lab.issuer(second), root));
    expect(set.voids({ subject: peer(1), id: targetText(token(3)) })).toBe(true);
    expect(set.voids({ subject: peer(1), id: targetText(token(4)) })).toBe(false);
    expect(set.voids({ subject: peer(1), kid: kidOf(second.publicKey) })).toBe(true);
    expect(set.voids({ subject: peer(1), kid: kidOf(first.publicKey) })).toBe(false);
  });

  test("changes nothing when it is forged, signed for something else, by a stranger, or by a key without that right", () => {
    const modest = setWith(list(1, [first], root, ["mesh:join", "kv:*"]));
    expect(outcome(modest, revocation(member(9)))).toBe("unentitled");
    const set = setWith(list(1, [first]));
    const genuine = revocation(member(9));
    expect(outcome(set, lab.forged(genuine))).toBe("forged");
    expect(outcome(set, { ...genuine, signature: first.sign("starling/desk/1", genuine.body) })).toBe("forged");
    expect(outcome(set, { ...genuine, signer: kidOf(stranger.publicKey) })).toBe("unentitled");
    expect(outcome(set, revocation(member(9), stranger))).toBe("unentitled");
    expect(outcome(set, lab.mislabelled(genuine, "rotation"))).toBe("malformed");
    expect(set.revokedSince(peer(9))).toBeUndefined();
    expect(set.size).toBe(1);
  });

  test("of an issuing key is the root's, or that key's own", () => {
    const set = setWith(list(1, [first, second]));
    expect(outcome(set, revocation(lab.issuer(second), first))).toBe("unentitled");
    expect(outcome(set, revocation(lab.issuer(second), second))).toBe("news");
    expect(outcome(set, revocation(lab.issuer(first), root))).toBe("news");
  });

  test("is not undone by a replay, a later date, an older list, or the end of its issuing key", () => {
    const old = list(1, [first]);
    const set = setWith(old, list(2, [first, second]), revocation(member(9), first, NOW));
    expect(outcome(set, revocation(member(9), first, NOW + 1_000))).toBe("superseded");
    expect(outcome(set, revocation(member(9), first, NOW))).toBe("known");
    expect(outcome(set, old)).toBe("superseded");
    set.tidy(NOW + 10 * 366 * 86_400_000);
    expect(set.revokedSince(peer(9))).toBe(NOW);
  });

  test("of a stolen key goes with a list that does not name it any more, and what another key has said stays", () => {
    const set = setWith(list(1, [first, second]), revocation(member(9), first), revocation(member(8), second));
    expect(outcome(set, list(2, [second]))).toBe("news");
    expect(set.revokedSince(peer(9))).toBeUndefined();
    expect(set.revokedSince(peer(8))).toBe(NOW);
    expect(outcome(set, revocation(member(9), first))).toBe("unentitled");
  });

  test("of a token is forgotten when the token could not even buy a renewal, and refused from then on", () => {
    const set = setWith(list(1, [first]), revocation(token(3)));
    set.tidy(NOW + 999_999);
    expect(set.voids({ id: targetText(token(3)) })).toBe(true);
    set.tidy(NOW + 1_000_000);
    expect(set.voids({ id: targetText(token(3)) })).toBe(false);
    expect(outcome(set, revocation(token(3)), NOW + 1_000_000)).toBe("over");
    const forever = { target: token(3), since: NOW, until: NOW + MAX_TOKEN_MATTERS_MS + 1 };
    expect(outcome(set, signDecree("revocation", encodeRevocation(forever), first))).toBe("malformed");
  });

  test("of a thief's making pushes out nothing that others have revoked, and of his own the latest", () => {
    const set = setWith(list(1, [first, second]), revocation(member(9), first));
    for (let number = 0; number < MAX_REVOCATIONS_OF_A_SIGNER; number++) {
      const target = { of: "member", peer: lab.peerNumbered(number) } as const;
      expect(outcome(set, revocation(target, second, NOW + number))).toBe("news");
    }
    expect(outcome(set, revocation(member(7), second, NOW + 1e6))).toBe("full");
    expect(outcome(set, revocation(member(7), second, NOW - 1))).toBe("news");
    expect(set.revokedSince(lab.peerNumbered(MAX_REVOCATIONS_OF_A_SIGNER - 1))).toBeUndefined();
    expect(set.revokedSince(peer(7))).toBe(NOW - 1);
    expect(set.revokedSince(peer(9))).toBe(NOW);
  });
});

describe("a list of issuing keys", () => {
  test("takes the place of a lower version only, and of the same version that with lower bytes", () => {
    const [a, b] = [list(2, [first]), list(2, [second])];
    const set = setWith(list(1, [third]), a);
    const other = setWith(b, list(1, [third]), a);
    set.accept(b, NOW);
    expect(set.sums()).toEqual(other.sums());
    expect(set.issuers?.list).toEqual(other.issuers?.list);
    expect(outcome(set, list(1, [first, second]))).toBe("superseded");
  });

  test("by an issuing key is none", () => {
    expect(outcome(setWith(list(1, [first])), list(2, [first, stranger], first))).toBe("unentitled");
  });
});

describe("a root that hands over", () => {
  test("is refused from then on, and its successor alone is root", () => {
    const set = setWith(list(1, [first]), succession(1, heir));
    expect(set.root).toEqual(heir.publicKey);
    expect(set.issuers?.list.version).toBe(1);
    expect(outcome(set, list(2, [second], heir))).toBe("news");
    expect(outcome(set, list(9, [stranger], root))).toBe("news");
    expect(set.issuers?.list.issuers.map(({ publicKey }) => publicKey)).toEqual([second.publicKey]);
    expect(outcome(set, revocation(member(9), root))).toBe("unentitled");
    expect(outcome(set, revocation(member(9), heir))).toBe("news");
  });

  test("has one heir: a second one, or one named by anybody else, changes nothing", () => {
    const set = setWith(list(1, [first]), succession(1, heir));
    expect(outcome(set, succession(1, stranger))).toBe("superseded");
    expect(outcome(set, succession(2, stranger))).toBe("unentitled");
    expect(outcome(set, succession(2, stranger, first))).toBe("unentitled");
    expect(outcome(set, succession(2, stranger, heir))).toBe("news");
  });
});

describe("a succession", () => {
  test("leaves what the root before has revoked in force until its heir has signed a list, and then to the heir alone", () => {
    const set = setWith(list(1, [first]), revocation(member(9), root), succession(1, heir));
    expect(set.revokedSince(peer(9))).toBe(NOW);
    expect(outcome(set, revocation(member(9), heir))).toBe("news");
    expect(outcome(set, list(2, [first], heir))).toBe("news");
    expect(set.revokedSince(peer(9))).toBe(NOW);
    expect([...set.by(kidOf(root.publicKey))].map(({ kind }) => kind)).toEqual(["issuers", "succession"]);
    expect(outcome(set, rotation(2, secrets(1), root))).toBe("unentitled");
  });

  test("of two at a time is the one with the lower hash, in either order, and of none once an heir has signed a list", () => {
    const [lower, higher] = [succession(1, heir), succession(1, stranger)].toSorted((a, b) =>
      decreeIdOf(a) < decreeIdOf(b) ? -1 : 1,
    ) as [SignedDecree, SignedDecree];
    const [winner, loser] = equal(lower, heir) ? [heir, stranger] : [stranger, heir];
    const forth = setWith(list(1, [first]), lower, higher, revocation(member(9), loser), list(2, [first], winner));
    const back = setWith(list(1, [first]), higher, revocation(member(9), loser), lower, list(2, [first], winner));
    expect(back.sums()).toEqual(forth.sums());
    expect(back.root).toEqual(winner.publicKey);
    expect(back.revokedSince(peer(9))).toBeUndefined();
    const begun = setWith(list(1, [first]), higher, list(2, [first], loser));
    expect(outcome(begun, lower)).toBe("superseded");
    expect(begun.root).toEqual(loser.publicKey);
  });

  test("takes along the heirs that a rival has named, and not those of one that reigns", () => {
    const [lower, higher] = [succession(1, heir), succession(1, stranger)].toSorted((a, b) =>
      decreeIdOf(a) < decreeIdOf(b) ? -1 : 1,
    ) as [SignedDecree, SignedDecree];
    const [winner, loser] = equal(lower, heir) ? [heir, stranger] : [stranger, heir];
    const set = setWith(list(1, [first]), higher, succession(2, third, loser));
    expect(set.roots).toHaveLength(3);
    expect(outcome(set, lower)).toBe("news");
    expect(set.roots).toEqual([root.publicKey, winner.publicKey]);
    expect(setWith(list(1, [first]), lower, succession(2, third, winner)).roots).toHaveLength(3);
  });

  test("travels with the list of the newest root, for whoever knows the first, and its chain can be neither cut nor mended", () => {
    const set = setWith(list(1, [first]), succession(1, heir), succession(2, third, heir), list(4, [second], third));
    const signed = set.signedIssuers as SignedIssuers;
    expect(acceptIssuers(signed, root.publicKey, lab.verify)?.version).toBe(4);
    expect(decodeSignedIssuers(encodeSignedIssuers(signed))).toEqual(signed);
    const fresh = setWith(...foundationOf(signed, root.publicKey));
    expect(fresh.root).toEqual(third.publicKey);
    expect(fresh.issuers?.list.version).toBe(4);
    const [one, two] = signed.heirs as [SignedHeir, SignedHeir];
    for (const heirs of [[], [one], [two], [two, one], [one, one], [one, { ...two, publicKey: stranger.publicKey }]]) {
      expect(acceptIssuers({ ...signed, heirs }, root.publicKey, lab.verify)).toBeUndefined();
    }
    expect(acceptIssuers(signed, heir.publicKey, lab.verify)).toBeUndefined();
  });
});

describe("of rotations", () => {
  test("the higher epoch holds, then the lower hash, whoever signed and in whatever order", () => {
    const rivals = [rotation(3, secrets(1), first), rotation(3, secrets(2), second), rotation(2, secrets(3), third)];
    const keys = list(1, [first, second, third]);
    const forth = setWith(keys, ...rivals);
    const back = setWith(keys, ...rivals.toReversed());
    expect(forth.rotation).toEqual(back.rotation);
    expect(forth.rotation?.epoch).toBe(3);
    expect(outcome(forth, rotation(4, secrets(4), third))).toBe("news");
    expect(forth.rotation?.epoch).toBe(4);
  });

  test("those of a revoked issuing key do not count", () => {
    const set = setWith(list(1, [first, second]), rotation(2, secrets(1), first), rotation(9, secrets(2), second));
    set.accept(revocation(lab.issuer(second), root), NOW);
    expect(set.rotation?.epoch).toBe(2);
  });
});

test("what travels is what was signed, and any other bytes are no decree", () => {
  const decree = revocation(member(9));
  const decoded = decodeDecree(encodeDecree(decree));
  expect(decoded).toEqual(decree);
  expect(decreeIdOf(decree)).toBe(decreeIdOf({ ...decree, signature: new Uint8Array(64) }));
  for (const bytes of [new Uint8Array(0), Uint8Array.of(0x94, 1, 2, 3, 4), encodeDecree(decree).subarray(1)]) {
    expect(new DecreeSet(root.publicKey, lab.verify).offer(bytes, NOW)).toEqual({ outcome: "malformed" });
  }
});

test("a name is read as what it is: a member, a token or an issuing key", () => {
  for (const target of [member(9), token(3), lab.issuer(first)])
    expect(parseTarget(targetText(target))).toEqual(target);
  for (const text of ["", "alice", "A".repeat(23), `${"a".repeat(15)}1`]) expect(parseTarget(text)).toBeUndefined();
});

test("what one set has and another lacks is in the parts that differ, what others depend on first", () => {
  const full = setWith(
    list(1, [first]),
    ...Array.from({ length: 600 }, (_, number) => revocation({ of: "member", peer: lab.peerNumbered(number) })),
  );
  const empty = new DecreeSet(root.publicKey, lab.verify);
  for (const piece of differing(full, empty.sums())) for (const bytes of piece) empty.offer(bytes, NOW);
  expect(empty.sums()).toEqual(full.sums());
  expect([...differing(full, empty.sums())]).toEqual([]);
});
