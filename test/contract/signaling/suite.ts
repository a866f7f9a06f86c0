import { describe, expect, test } from "vitest";
import type { SignalingCommand, SignalingEvent } from "../../../src/drivers/signaling.ts";
import type { HeldCredential } from "../../../src/proto/signaling/client-events.ts";
import { createIdentity, type FakeAuthority, type Identity, joinToken, memberToken } from "./authority.ts";

/** One server, its agents, and time: in memory with a clock of its own, or over sockets. */
export interface Lab {
  readonly authority: FakeAuthority;
  now(): number;
  startServer(): Promise<void>;
  /** Ends the server without a word, as a crash does. */
  killServer(): Promise<void>;
  /** Ends the server in good order. */
  closeServer(): Promise<void>;
  connect(options: LabClientOptions): LabClient;
  close(): Promise<void>;
}

export interface LabClientOptions {
  readonly identity: Identity;
  readonly credential: HeldCredential;
  readonly cluster?: string;
}

export interface LabClient {
  command(command: SignalingCommand): void;
  /** The next event of this type, also one that has come already; each event is given once. */
  next<Type extends SignalingEvent["type"]>(type: Type): Promise<Extract<SignalingEvent, { type: Type }>>;
  leave(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What every pair of a signaling client and a signaling server keeps, whatever carries their messages. */
export function signalingContract(name: string, open: () => Promise<Lab>): void {
  const withLab = (title: string, run: (lab: Lab) => Promise<void>): void =>
    test(title, async () => {
      const lab = await open();
      try {
        await lab.startServer();
        await run(lab);
      } finally {
        await lab.close();
      }
    });

  const member = (lab: Lab, identity = createIdentity(), cluster = "cluster-a") => {
    const expiresAt = lab.now() + 3_600_000;
    const token = memberToken(identity.peer, cluster, expiresAt);
    const client = lab.connect({ identity, cluster, credential: { kind: "member", token, expiresAt } });
    return { ...identity, client };
  };

  describe(`signaling by ${name}`, () => {
    withLab("carries signals between two members, each with its sender's name", async (lab) => {
      const alice = member(lab);
      const bob = member(lab);
      await Promise.all([alice.client.next("ready"), bob.client.next("ready")]);
      alice.client.command({ type: "signal", to: bob.peer, bytes: bytes("offer"), id: 1 });
      expect(await bob.client.next("signal")).toEqual({ type: "signal", from: alice.peer, bytes: bytes("offer") });
      bob.client.command({ type: "signal", to: alice.peer, bytes: bytes("answer"), id: 1 });
      expect(await alice.client.next("signal")).toEqual({ type: "signal", from: bob.peer, bytes: bytes("answer") });
    });

    withLab("keeps the order of signals, and carries the largest", async (lab) => {
      const alice = member(lab);
      const bob = member(lab);
      await Promise.all([alice.client.next("ready"), bob.client.next("ready")]);
      const sizes = [65_536, 1, 40_000, 0, 65_536];
      sizes.forEach((size, id) => {
        alice.client.command({ type: "signal", to: bob.peer, bytes: new Uint8Array(size).fill(id), id });
      });
      for (const [id, size] of sizes.entries()) {
        expect((await bob.client.next("signal")).bytes).toEqual(new Uint8Array(size).fill(id));
      }
    });

    withLab("gives back a signal to somebody who is absent, or in another cluster", async (lab) => {
      const alice = member(lab);
      const stranger = member(lab, createIdentity(), "cluster-b");
      await Promise.all([alice.client.next("ready"), stranger.client.next("ready")]);
      const { peer } = createIdentity();
      alice.client.command({ type: "signal", to: peer, bytes: bytes("x"), id: 7 });
      expect(await alice.client.next("undelivered")).toEqual({
        type: "undelivered",
        to: peer,
        id: 7,
        reason: "absent",
      });
      alice.client.command({ type: "signal", to: stranger.peer, bytes: bytes("x"), id: 8 });
      expect(await alice.client.next("undelivered")).toMatchObject({ id: 8, reason: "absent" });
    });

    withLab("gives back a signal at once while there is no server", async (lab) => {
      const alice = member(lab);
      await alice.client.next("ready");
      await lab.killServer();
      await alice.client.next("offline");
      alice.client.command({ type: "signal", to: alice.peer, bytes: bytes("x"), id: 7 });
      expect(await alice.client.next("undelivered")).toMatchObject({ id: 7, reason: "offline" });
    });

    withLab("introduces a newcomer with a join token, and gives it a member token", async (lab) => {
      const alice = member(lab);
      await alice.client.next("ready");
      alice.client.command({ type: "present", record: bytes("alice") });
      alice.client.command({ type: "introduce", count: 1 });
      await alice.client.next("introduced");
      const identity = createIdentity();
      const newcomer = lab.connect({ identity, credential: { kind: "join", token: joinToken("cluster-a") } });
      expect((await newcomer.next("issued")).token).toContain(identity.peer);
      const ready = await newcomer.next("ready");
      expect(ready.introductions).toEqual([bytes("alice")]);
      expect(ready.issuers).toEqual(new Uint8Array([1, 2, 3]));
    });

    withLab("renews a token, also one that has expired", async (lab) => {
      const alice = member(lab);
      await alice.client.next("ready");
      alice.client.command({ type: "renew", token: memberToken(alice.peer, "cluster-a", 1) });
      expect((await alice.client.next("renewed")).expiresAt).toBeGreaterThan(lab.now());
      const identity = createIdentity();
      const token = memberToken(identity.peer, "cluster-a", 5);
      const late = lab.connect({ identity, credential: { kind: "member", token, expiresAt: 5 } });
      expect((await late.next("issued")).token).toContain(identity.peer);
      await late.next("ready");
    });

    withLab(
      "takes a newcomer's request to the desk of a member where the server has none, and the answer back",
      async (lab) => {
        lab.authority.desks.length = 0;
        await lab.killServer();
        await lab.startServer();
        const issuer = member(lab);
        await issuer.client.next("ready");
        issuer.client.command({ type: "desk", desk: bytes(`desk ${issuer.peer}`) });
        issuer.client.command({ type: "introduce", count: 1 });
        await issuer.client.next("introduced");
        const identity = createIdentity();
        const newcomer = lab.connect({ identity, credential: { kind: "join", token: joinToken("cluster-a") } });
        const asked = await issuer.client.next("asked");
        const { attempt, id } = asked;
        expect(JSON.parse(new TextDecoder().decode(asked.bytes))).toMatchObject({ peer: identity.peer });
        const answer = lab.authority.answer("cluster-a", asked.bytes) ?? bytes("");
        issuer.client.command({ type: "answer", attempt, id, bytes: answer });
        expect((await newcomer.next("issued")).token).toContain(identity.peer);
        await newcomer.next("ready");
      },
    );

    withLab("tells a newcomer that no issuer can be reached, and lets it in as soon as one can", async (lab) => {
      const own = lab.authority.desks.splice(0);
      await lab.killServer();
      await lab.startServer();
      const identity = createIdentity();
      const newcomer = lab.connect({ identity, credential: { kind: "join", token: joinToken("cluster-a") } });
      expect(await newcomer.next("offline")).toMatchObject({ reason: "refused", code: "issuer-unreachable" });
      lab.authority.desks.push(...own);
      await lab.killServer();
      await lab.startServer();
      await newcomer.next("ready");
    });

    withLab("refuses for good what cannot get better: revoked, another cluster's token, another's key", async (lab) => {
      const revoked = createIdentity();
      lab.authority.revoked.add(revoked.peer);
      const refused = member(lab, revoked);
      expect(await refused.client.next("stopped")).toMatchObject({ reason: "token-revoked" });
      const identity = createIdentity();
      const expiresAt = lab.now() + 3_600_000;
      const stopped = async (token: string, keys = identity.keys) => {
        const credential = { kind: "member", token, expiresAt } as const;
        const client = lab.connect({ identity: { peer: identity.peer, keys }, credential });
        return (await client.next("stopped")).reason;
      };
      expect(await stopped(memberToken(identity.peer, "cluster-b", expiresAt))).toBe("cluster-unknown");
      expect(await stopped(memberToken(createIdentity().peer, "cluster-a", expiresAt))).toBe("token-mismatch");
      const mine = memberToken(identity.peer, "cluster-a", expiresAt);
      expect(await stopped(mine, createIdentity().keys)).toBe("signature-invalid");
    });

    withLab("lets the newest session of a key win, and the other stop with the proof", async (lab) => {
      const first = member(lab);
      await first.client.next("ready");
      const second = member(lab, first);
      await second.client.next("ready");
      expect(await first.client.next("stopped")).toMatchObject({ reason: "identity-in-use" });
      const bob = member(lab);
      await bob.client.next("ready");
      bob.client.command({ type: "signal", to: first.peer, bytes: bytes("x"), id: 1 });
      expect(await second.client.next("signal")).toMatchObject({ from: bob.peer });
    });

    withLab("comes back by itself after the server was killed and started again", async (lab) => {
      const alice = member(lab);
      const bob = member(lab);
      await Promise.all([alice.client.next("ready"), bob.client.next("ready")]);
      await lab.killServer();
      await Promise.all([alice.client.next("offline"), bob.client.next("offline")]);
      await lab.startServer();
      await Promise.all([alice.client.next("ready"), bob.client.next("ready")]);
      alice.client.command({ type: "signal", to: bob.peer, bytes: bytes("again"), id: 1 });
      expect(await bob.client.next("signal")).toMatchObject({ from: alice.peer, bytes: bytes("again") });
    });

    withLab("tells its agents when the server closes in good order", async (lab) => {
      const alice = member(lab);
      await alice.client.next("ready");
      await lab.closeServer();
      expect(await alice.client.next("offline")).toMatchObject({ reason: "going-away" });
    });

    withLab("makes a member absent as soon as it leaves", async (lab) => {
      const alice = member(lab);
      const bob = member(lab);
      await Promise.all([alice.client.next("ready"), bob.client.next("ready")]);
      await bob.client.leave();
      alice.client.command({ type: "signal", to: bob.peer, bytes: bytes("x"), id: 3 });
      expect(await alice.client.next("undelivered")).toMatchObject({ id: 3, reason: "absent" });
    });

    withLab("measures how far the clocks differ", async (lab) => {
      const alice = member(lab);
      const { skewMs, uncertaintyMs } = await alice.client.next("skew");
      expect(Math.abs(skewMs)).toBeLessThanOrEqual(uncertaintyMs + 2);
    });
  });
}
