import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Authority, clusterAuthority } from "../../../signaling/authority.ts";
import { startSignalingService } from "../../../signaling/main.ts";
import type { ResumeRequest } from "../../../signaling/proto/events.ts";
import { type TicketKey, TicketKeys } from "../../../signaling/ticket-keys.ts";
import { TicketOffice } from "../../../signaling/ticket-office.ts";
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { connectSignaling, type SignalingEvent } from "../../../src/drivers/signaling.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { readTicketKeys, writeTicketKeys } from "../../../src/drivers/state/ticket-key-file.ts";
import { decreesOf } from "../../../src/issuer/decrees-of.ts";
import { issuersOf, type Mint, openMint } from "../../../src/issuer/mint.ts";
import type { DecreeSet } from "../../../src/proto/decrees/decree-set.ts";
import { encodeRevocation } from "../../../src/proto/decrees/revocation.ts";
import { instanceOf, resumptionBody, resumptionProof, ticketSecret } from "../../../src/proto/signaling/resumption.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";

const crypto = nodeCrypto();
const HOUR = 3_600_000;
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
const NOT_KEPT = (): void => undefined;
const serverName = "signal.example";

let folder: string;
let cluster: Cluster;
let mint: Mint;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "starling-tickets-"));
  const made = await createCluster(folder, {}, crypto);
  cluster = made.cluster;
  const issuers = issuersOf(cluster, crypto);
  const { clusterId } = cluster;
  mint = await openMint({ keyFile: made.issuingKeyFile, clusterId, issuers: () => issuers, crypto });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** An authority with tickets, its clock and what it knows to be decreed. */
class Bench {
  now = Date.now();
  readonly decrees: DecreeSet = decreesOf(cluster, [], crypto, this.now);
  readonly keys: TicketKeys;
  readonly authority: Authority;

  constructor(keys = new TicketKeys([], NOT_KEPT)) {
    this.keys = keys;
    const tickets = new TicketOffice(keys, crypto);
    const now = (): number => this.now;
    this.authority = clusterAuthority({ cluster, crypto, now, decrees: this.decrees, tickets });
  }
}

/** A member with a token and a run of its own. */
async function newMember(lifeMs = 12 * HOUR) {
  const { id, sign } = crypto.nodeIdentity(crypto.generateNodeKey());
  const pair = crypto.boxKeyPair();
  const issued = await mint.issueMemberToken({ subject: id, lifeMs }, Date.now());
  if (!issued.ok) throw new Error(issued.fault);
  const share = { publicKey: pair.publicKey, agree: (other: Uint8Array) => crypto.agree(other, pair.secretKey) };
  return { id, sign, share, instance: instanceOf(pair.publicKey), token: issued.token, claims: issued.claims };
}

type Member = Awaited<ReturnType<typeof newMember>>;

const ask = ({ id, share, instance, token }: Member) => {
  return { cluster: cluster.clusterId, peer: id, instance, share: share.publicKey, token };
};

/** What `member` shows who was given a ticket. */
async function resumptionOf(bench: Bench, member: Member): Promise<ResumeRequest> {
  const given = await bench.authority.sealTicket(ask(member));
  if (given === undefined) throw new Error("no ticket");
  const agreed = member.share.agree(given.share) as Uint8Array;
  const secret = ticketSecret(agreed, member.share.publicKey, given.share);
  return shown(member, given.ticket, secret, bench.now);
}

function shown({ id, instance }: Pick<Member, "id" | "instance">, ticket: Uint8Array, secret: Uint8Array, at: number) {
  const party = { cluster: cluster.clusterId, peer: id, instance, serverName };
  const proof = resumptionProof(secret, resumptionBody(party, ticket, Math.floor(at)));
  return { ...party, ticket, at: Math.floor(at), proof, address: "192.0.2.1" };
}

function flipped(bytes: Uint8Array, index: number): Uint8Array {
  return bytes.map((byte, at) => (at === index ? byte ^ 1 : byte));
}

describe("a ticket", () => {
  test("lets its member in on the terms of the token that it was given for, as often as it is shown", async () => {
    const bench = new Bench();
    const member = await newMember();
    const request = await resumptionOf(bench, member);
    const { expiresAt, scopes, id } = member.claims;
    for (let round = 0; round < 2; round++) {
      expect(bench.authority.resume(request)).toMatchObject({
        ok: true,
        subject: member.id,
        expiresAt,
        scopes,
        names: { id, kid: mint.kid },
      });
    }
  });

  test("changed in any byte, or shown with a proof, a time or a name that is not its own, is not taken", async () => {
    const bench = new Bench();
    const member = await newMember();
    const other = await newMember();
    const request = await resumptionOf(bench, member);
    for (let index = 0; index < request.ticket.length; index++)
      expect(bench.authority.resume({ ...request, ticket: flipped(request.ticket, index) })).toBeUndefined();
    const spoiled: Partial<ResumeRequest>[] = [
      { ticket: request.ticket.slice(0, -1) },
      { ticket: request.ticket.slice(0, 36) },
      { ticket: new Uint8Array(1) },
      { proof: flipped(request.proof, 0) },
      { proof: flipped(request.proof, 31) },
      { at: request.at + 1 },
      { serverName: "other.example" },
      { cluster: "another" },
      { peer: other.id },
      { instance: other.instance },
    ];
    for (const change of spoiled) expect(bench.authority.resume({ ...request, ...change })).toBeUndefined();
    expect(bench.authority.resume(request)).toMatchObject({ ok: true });
  });

  test("is worth nothing to who has seen all that was sent, nor to who put a share of its own in the middle", async () => {
    const bench = new Bench();
    const member = await newMember();
    const thief = await newMember();
    const given = await bench.authority.sealTicket(ask(member));
    if (given === undefined) throw new Error("no ticket");
    const guesses = [
      thief.share.agree(given.share),
      thief.share.agree(member.share.publicKey),
      given.share,
      member.share.publicKey,
      new Uint8Array(32),
    ];
    for (const guess of guesses) {
      const secret = ticketSecret(guess as Uint8Array, member.share.publicKey, given.share);
      expect(bench.authority.resume(shown(member, given.ticket, secret, bench.now))).toBeUndefined();
    }
    // The run is named after its share: another share has another name, which the login did not sign.
    expect(instanceOf(thief.share.publicKey)).not.toEqual(member.instance);
  });

  test("is sealed for no token that does not hold, is another's, or is no member token", async () => {
    const bench = new Bench();
    const member = await newMember();
    const other = await newMember();
    const join = await mint.issueJoinToken({}, bench.now);
    if (!join.ok) throw new Error(join.fault);
    // Of the signature's first byte, so that it is another whatever it was.
    const [head, payload, signature = ""] = member.token.split(".");
    const unsigned = `${head}.${payload}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
    const tokens = [other.token, unsigned, join.token, "", "x.y.z"];
    for (const token of tokens) expect(await bench.authority.sealTicket({ ...ask(member), token })).toBeUndefined();
    expect(await bench.authority.sealTicket({ ...ask(member), cluster: "another" })).toBeUndefined();
    expect(await bench.authority.sealTicket({ ...ask(member), share: new Uint8Array(32) })).toBeUndefined();
    bench.now += 13 * HOUR;
    expect(await bench.authority.sealTicket(ask(member))).toBeUndefined();
  });

  test("ends with its token, and a day after it was sealed", async () => {
    const bench = new Bench();
    const short = await newMember(2 * HOUR);
    const long = await newMember(72 * HOUR);
    const [ofShort, ofLong] = [await resumptionOf(bench, short), await resumptionOf(bench, long)];
    bench.now += 2 * HOUR;
    expect(bench.authority.resume(ofLong)).toMatchObject({ ok: true });
    bench.now += 61_000;
    expect(bench.authority.resume(ofShort)).toBeUndefined();
    bench.now += 22 * HOUR;
    expect(bench.authority.resume(ofLong)).toBeUndefined();
  });

  test("is void at once when its member, its token or its issuing key is revoked", async () => {
    const targets = [
      (member: Member) => ({ of: "member", peer: member.id }) as const,
      (member: Member) => ({ of: "token", id: member.claims.id }) as const,
      () => ({ of: "issuer", kid: mint.kid }) as const,
    ];
    for (const targetOf of targets) {
      const bench = new Bench();
      const member = await newMember();
      const request = await resumptionOf(bench, member);
      expect(bench.authority.resume(request)).toMatchObject({ ok: true });
      const target = targetOf(member);
      const until = target.of === "token" ? bench.now + 24 * HOUR : 0;
      const decree = mint.decree("revocation", encodeRevocation({ target, since: bench.now, until }));
      if (decree === undefined) throw new Error("no revocation");
      expect(bench.decrees.accept(decree, bench.now).outcome).toBe("news");
      expect(bench.authority.resume(request)).toBeUndefined();
      expect(await bench.authority.sealTicket(ask(member))).toBeUndefined();
    }
  });

  test("outlives the server's process by the keys that are kept, and not those keys", async () => {
    let kept: readonly TicketKey[] = [];
    const keep = (keys: readonly TicketKey[]): void => {
      kept = keys;
    };
    const first = new Bench(new TicketKeys([], keep));
    const member = await newMember(72 * HOUR);
    const request = await resumptionOf(first, member);
    const path = join(folder, "tickets.keys");
    await writeTicketKeys(path, kept);
    const read = await readTicketKeys(path);
    expect(new Bench(new TicketKeys(read, keep)).authority.resume(request)).toMatchObject({ ok: true });
    expect(new Bench().authority.resume(request)).toBeUndefined();
    // A day later another key seals; the first opens as long as what it has sealed lives, and goes then.
    const later = new TicketKeys(read, keep);
    const second = later.current(first.now + 25 * HOUR);
    expect(kept.map(({ id }) => id)).toEqual([second.id, read[0]?.id]);
    expect(later.find((read[0] as TicketKey).id, first.now + 47 * HOUR)).toBeDefined();
    expect(later.find((read[0] as TicketKey).id, first.now + 49 * HOUR)).toBeUndefined();
    await writeTicketKeys(path, []);
    expect(await readTicketKeys(path)).toEqual([]);
  });
});

describe("an agent", () => {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  test("comes back to a server that was killed and started again without a signature", async () => {
    let kept: readonly TicketKey[] = [];
    const keep = (keys: readonly TicketKey[]): void => {
      kept = keys;
    };
    const start = async (port = 0) => {
      const listen = { host: "127.0.0.1", port };
      const server = await startSignalingService({ cluster, listen, log: SILENT, ticketKeys: { kept, keep } });
      ends.push(() => server.kill());
      return server;
    };
    const first = await start();
    const member = await newMember();
    let signatures = 0;
    let ready = Promise.withResolvers<void>();
    const connection = connectSignaling(
      {
        url: `ws://127.0.0.1:${first.port}`,
        peer: member.id,
        cluster: cluster.clusterId,
        run: { instance: member.instance, share: member.share, startedAt: Date.now() },
        credential: { kind: "member", token: member.token, expiresAt: member.claims.expiresAt },
        keys: {
          sign: (label, body) => {
            signatures++;
            return member.sign(label, body);
          },
          verify: () => false,
          askDesk: () => "none",
        },
        random: systemRandom(),
        now: Date.now,
      },
      ({ type }: SignalingEvent) => {
        if (type === "ready") ready.resolve();
      },
    );
    ends.push(() => connection.close());
    await ready.promise;
    await expect.poll(() => first.counters().tickets, { timeout: 15_000 }).toBe(1);
    ready = Promise.withResolvers();
    await first.kill();
    await new Promise((resolve) => setTimeout(resolve, 600));
    const second = await start(first.port);
    await ready.promise;
    // Who comes in the first quarter of a second of a server logs in: see `replays.ts`.
    const { resumed, logins, ticketsRefused } = second.counters();
    expect([resumed + logins, resumed + ticketsRefused]).toEqual([1, 1]);
    expect(signatures).toBe(1 + logins);
  }, 30_000);
});
