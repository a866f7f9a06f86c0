import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Alarms } from "../../../signaling/proto/alarms.ts";
import type { RoomsOutput } from "../../../signaling/proto/events.ts";
import { LogThrottle } from "../../../signaling/proto/log-throttle.ts";
import { admission, DAY, type Seen, Server, START, testPeer, told } from "./rooms-harness.ts";

const alice = testPeer(1);
const bob = testPeer(2);
const one = new Uint8Array(1);

type Asked = Extract<RoomsOutput, { type: "authenticate" }>;

type Act =
  | { kind: "bytes"; bytes: Uint8Array }
  | { kind: "hello"; peer: number; cluster: string }
  | { kind: "login" }
  | { kind: "answer"; yes: boolean }
  | { kind: "signal"; to: number }
  | { kind: "gone" };

function perform(server: Server, act: Act, connection: number, asked: Asked[]): Seen[] {
  switch (act.kind) {
    case "bytes":
      return server.handle({ type: "message", connection, bytes: act.bytes });
    case "hello":
      return server.hello(connection, testPeer(act.peer), act.cluster);
    case "login":
      return server.login(connection);
    case "signal":
      return server.say(connection, { type: "signal", to: testPeer(act.to), bytes: one, id: 1 });
    case "gone":
      return server.handle({ type: "disconnected", connection });
    case "answer": {
      const question = asked.shift();
      if (question === undefined) return [];
      const no = { ok: false, code: "token-invalid" } as const;
      return server.verdict(question.connection, act.yes ? admission(question.request.peer) : no);
    }
  }
}

describe("too many connections", () => {
  test("from one address are refused, and the address's neighbours are not", () => {
    const server = new Server();
    let refused = 0;
    for (let id = 1; id <= 10_000; id++) {
      const seen = server.connect(id, "198.51.100.7");
      if (seen.some((output) => "type" in output && output.type === "close")) refused++;
    }
    // 256 that have not logged in; the rate lets 400 come at once, so that the bound on those is what holds.
    expect(refused).toBe(10_000 - 256);
    expect(server.rooms.connections).toBe(256);
    expect(server.connect(20_000, "198.51.100.8")).toEqual([]);
    const { connectionsRefusedAddress, connectionsRefusedRate } = server.rooms.counters;
    expect(connectionsRefusedAddress + connectionsRefusedRate).toBe(refused);
  });

  test("that come and go at once are held to their rate", () => {
    const server = new Server();
    let admitted = 0;
    for (let id = 1; id <= 10_000; id++) {
      server.now += 1;
      if (server.connect(id, "198.51.100.7").length === 0) admitted++;
      server.handle({ type: "disconnected", connection: id });
    }
    // The burst, and 50 for each of the ten seconds.
    expect(admitted).toBeGreaterThanOrEqual(899);
    expect(admitted).toBeLessThanOrEqual(901);
  });

  test("that have not logged in are bounded over all addresses", () => {
    const server = new Server({ pending: 10 });
    for (let id = 1; id <= 10; id++) expect(server.connect(id, `203.0.113.${id}`)).toEqual([]);
    expect(server.connect(11, "203.0.113.11")).toEqual([
      { type: "fault", address: "203.0.113.11", fault: "connectionsRefusedFull" },
      { type: "close", connection: 11, code: 1008, abrupt: true },
    ]);
    server.hello(1, alice);
    server.login(1);
    server.verdict(1, admission(alice));
    expect(server.connect(12, "203.0.113.12")).toEqual([]);
  });

  test("count until their sockets are gone", () => {
    const server = new Server({ connectionsPerAddress: 1 });
    server.connect(1);
    server.pass(5_000);
    expect(server.connect(2)).not.toEqual([]);
    server.handle({ type: "disconnected", connection: 1 });
    expect(server.connect(3)).toEqual([]);
  });

  test("with logins that are refused cost their address more", () => {
    const server = new Server();
    let admitted = 0;
    for (let id = 1; id <= 400; id++) {
      if (server.connect(id).length > 0) continue;
      admitted++;
      server.hello(id, alice);
      server.login(id);
      server.verdict(id, { ok: false, code: "token-invalid" });
      server.handle({ type: "disconnected", connection: id });
    }
    expect(admitted).toBeLessThan(50);
  });
});

describe("a flood", () => {
  test("of signals is cut to the rate, its sender told, and nobody else reached by the rest", () => {
    const server = new Server();
    server.join(1, alice);
    server.join(2, bob);
    const signals = Array.from({ length: 500 }, (_, id) => server.say(1, { type: "signal", to: bob, bytes: one, id }));
    const reached = signals.filter((seen) => told(seen, 2).length > 0).length;
    const returned = signals.flatMap((seen) => told(seen, 1));
    expect(reached).toBeGreaterThanOrEqual(398);
    expect(reached).toBeLessThanOrEqual(400);
    expect(returned).toHaveLength(500 - reached);
    expect(returned[0]).toMatchObject({ type: "undelivered", to: bob, reason: "rate-limited" });
    server.pass(2_000);
    expect(told(server.say(1, { type: "signal", to: bob, bytes: one, id: 1 }), 2)).toHaveLength(1);
  });

  test("that does not stop closes the connection", () => {
    const server = new Server();
    server.join(1, alice);
    const seen = Array.from({ length: 900 }, () => server.say(1, { type: "time", id: 1 })).flat();
    expect(seen.at(-1)).toEqual({ type: "close", connection: 1, code: 1008, abrupt: false });
    expect(told(seen, 1).at(-1)).toMatchObject({ type: "refused", code: "rate-limited" });
    expect(server.rooms.counters.floods).toBe(1);
  });

  test("of large signals is cut by their bytes", () => {
    const server = new Server();
    server.join(1, alice);
    server.join(2, bob);
    const large = new Uint8Array(65_536);
    const reached = Array.from({ length: 40 }, (_, id) =>
      told(server.say(1, { type: "signal", to: bob, bytes: large, id }), 2),
    ).flat();
    expect(reached.length).toBeLessThan(25);
  });

  test("of introductions is cut by the records", () => {
    const server = new Server();
    server.join(1, alice);
    const answers = Array.from({ length: 40 }, () => told(server.say(1, { type: "introduce", count: 16 }), 1)).flat();
    expect(answers.length).toBeLessThan(26);
  });

  test("of pings is answered within the rate, then closes", () => {
    const server = new Server();
    server.connect(1);
    expect(server.handle({ type: "pinged", connection: 1, bytes: one })).toEqual([
      { type: "pong", connection: 1, bytes: one },
    ]);
    for (let count = 0; count < 1_000; count++) server.handle({ type: "pinged", connection: 1, bytes: one });
    expect(server.rooms.counters.floods).toBe(1);
  });
});

describe("bad bytes", () => {
  test("close their connection and are counted by kind", () => {
    const server = new Server();
    for (const id of [1, 2, 3, 4, 5]) server.connect(id, `203.0.113.${id}`);
    server.join(6, alice);
    const refused = (connection: number, bytes: Uint8Array) =>
      told(server.handle({ type: "message", connection, bytes }), connection);
    expect(refused(1, new Uint8Array(0))).toMatchObject([{ type: "refused", code: "malformed" }]);
    expect(refused(2, new Uint8Array(8_000).fill(0x91))).toMatchObject([{ type: "refused", code: "malformed" }]);
    expect(refused(3, new Uint8Array(8_193))).toMatchObject([{ type: "refused", code: "malformed" }]);
    expect(refused(6, new Uint8Array(70_000))).toMatchObject([{ type: "refused", code: "malformed" }]);
    expect(server.handle({ type: "broken", connection: 4, fault: "protocol" })).toEqual([
      { type: "fault", address: "203.0.113.4", fault: "protocolErrors" },
      { type: "close", connection: 4, code: 1008, abrupt: true },
    ]);
    server.handle({ type: "broken", connection: 5, fault: "oversize" });
    expect(server.rooms.counters).toMatchObject({ malformed: 2, oversize: 3, protocolErrors: 1 });
  });

  test("from a reader that does not read end it", () => {
    const server = new Server();
    server.join(1, alice);
    expect(server.handle({ type: "congested", connection: 1 })).toEqual([
      { type: "fault", address: "192.0.2.1", fault: "slowReaders", peer: alice },
      expect.objectContaining({ type: "left" }),
      { type: "close", connection: 1, code: 1008, abrupt: true },
    ]);
  });

  test("and anything else, in any order, never throw, and never reach another connection before the login", () => {
    const act = fc.oneof(
      fc.record({ kind: fc.constant("bytes" as const), id: fc.nat(4), bytes: fc.uint8Array({ maxLength: 40 }) }),
      fc.record({
        kind: fc.constant("hello" as const),
        id: fc.nat(4),
        peer: fc.nat(2),
        cluster: fc.constantFrom("a", "b"),
      }),
      fc.record({ kind: fc.constant("login" as const), id: fc.nat(4) }),
      fc.record({ kind: fc.constant("answer" as const), id: fc.nat(4), yes: fc.boolean() }),
      fc.record({ kind: fc.constant("answer" as const), id: fc.nat(4), yes: fc.constant(true) }),
      fc.record({ kind: fc.constant("signal" as const), id: fc.nat(4), to: fc.nat(2) }),
      fc.record({ kind: fc.constant("gone" as const), id: fc.nat(4) }),
      fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(20_000) }),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const server = new Server();
        const open = new Map<number, number>();
        const inside = new Set<number>();
        const asked: Asked[] = [];
        let next = 1;
        for (const step of acts) {
          if (step.kind === "pass") {
            for (const output of server.pass(step.ms))
              if ("type" in output && output.type === "left") inside.delete(output.connection);
            continue;
          }
          if (!open.has(step.id)) {
            open.set(step.id, next);
            server.connect(next++);
          }
          const connection = open.get(step.id) ?? 0;
          const seen = perform(server, step, connection, asked);
          if (step.kind === "gone") open.delete(step.id);
          for (const output of seen) {
            if ("type" in output && output.type === "authenticate") asked.push(output);
          }
          for (const output of seen) {
            if ("type" in output && output.type === "joined") inside.add(output.connection);
            if ("type" in output && output.type === "left") inside.delete(output.connection);
            if (!("to" in output)) continue;
            expect(output.message.type).not.toBe("malformed");
            // An answer of the authority concerns the connection that asked, whatever the step is about.
            if (step.kind === "answer" || output.to === connection) continue;
            expect(output.message.type).toBe("signal");
            expect(inside).toContain(connection);
            expect(inside).toContain(output.to);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("presence", () => {
  test("is the newest login of each key in each cluster, as in the model", () => {
    const act = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("join" as const),
          peer: fc.nat(3),
          cluster: fc.constantFrom("a", "b"),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("gone" as const), pick: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("goodbye" as const), pick: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("fail" as const),
          peer: fc.nat(3),
          cluster: fc.constantFrom("a", "b"),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("signal" as const), pick: fc.nat(), to: fc.nat(3) }) },
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 50 }), (acts) => {
        const server = new Server({ attemptsPerAddress: { perSecond: 1, burst: 1_000 } });
        /** Connection by cluster and peer. */
        const model = new Map<string, number>();
        const owner = new Map<number, string>();
        let id = 0;
        const drop = (connection: number) => {
          const key = owner.get(connection) ?? "";
          if (model.get(key) === connection) model.delete(key);
        };
        for (const step of acts) {
          const present = [...model.values()];
          const chosen = "pick" in step ? present[step.pick % present.length] : undefined;
          if (step.kind === "join" || step.kind === "fail") {
            id++;
            const key = `${step.cluster} ${testPeer(step.peer)}`;
            if (step.kind === "join") {
              const seen = server.join(id, testPeer(step.peer), { cluster: step.cluster });
              const rival = model.get(key);
              const fenced = seen.flatMap((output) =>
                "to" in output && output.message.type === "fenced" ? [output.to] : [],
              );
              expect(fenced).toEqual(rival === undefined ? [] : [rival]);
              model.set(key, id);
              owner.set(id, key);
            } else {
              server.connect(id);
              server.hello(id, testPeer(step.peer), step.cluster);
              server.login(id);
              server.verdict(id, { ok: false, code: "token-invalid" });
            }
          } else if (chosen === undefined) continue;
          else if (step.kind === "gone") {
            server.handle({ type: "disconnected", connection: chosen });
            drop(chosen);
          } else if (step.kind === "goodbye") {
            server.say(chosen, { type: "goodbye" });
            drop(chosen);
          } else {
            const [cluster = "", from] = (owner.get(chosen) ?? "").split(" ");
            const to = model.get(`${cluster} ${testPeer(step.to)}`);
            const seen = server.say(chosen, { type: "signal", to: testPeer(step.to), bytes: one, id: 1 });
            if (to === undefined) expect(told(seen, chosen)).toMatchObject([{ type: "undelivered", reason: "absent" }]);
            else expect(seen).toEqual([{ to, message: { type: "signal", from, bytes: one } }]);
          }
          for (const cluster of ["a", "b"]) {
            const expected = [...model].filter(([key]) => key.startsWith(cluster)).map(([, connection]) => connection);
            expect(
              server.rooms
                .members(cluster)
                .map(({ connection }) => connection)
                .sort(),
            ).toEqual(expected.sort());
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("the parts of the server", () => {
  test("alarms go off in order of time, each where it was set last", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(20), fc.option(fc.nat(1_000), { nil: undefined })), { maxLength: 200 }),
        (acts) => {
          const alarms = new Alarms<{ id: number; alarmIndex: number; alarmAt: number }>();
          const items = Array.from({ length: 21 }, (_, id) => ({ id, alarmIndex: -1, alarmAt: 0 }));
          const model = new Map<number, number>();
          for (const [id, at] of acts) {
            const item = items[id];
            if (item === undefined) continue;
            if (at === undefined) {
              alarms.clear(item);
              model.delete(id);
            } else {
              alarms.set(item, at);
              model.set(id, at);
            }
            expect(alarms.next()).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
            expect(alarms.size).toBe(model.size);
          }
          const order: number[] = [];
          for (let item = alarms.take(500); item !== undefined; item = alarms.take(500)) {
            order.push(item.alarmAt);
            expect(model.get(item.id)).toBe(item.alarmAt);
            model.delete(item.id);
          }
          expect(order).toEqual([...order].sort((a, b) => a - b));
          expect([...model.values()].every((at) => at > 500)).toBe(true);
        },
      ),
    );
  });

  test("the log has one line in five seconds, with the number of those left out", () => {
    const throttle = new LogThrottle();
    expect(throttle.admit(START)).toBe(0);
    for (let count = 0; count < 1_000; count++) expect(throttle.admit(START + count)).toBeUndefined();
    expect(throttle.admit(START + 5_000)).toBe(1_000);
    expect(throttle.admit(START + DAY)).toBe(0);
  });

  test("equal inputs give equal outputs, to the byte", () => {
    const run = () => {
      const server = new Server();
      return [1, 2, 3, 4].flatMap((id) => [
        ...server.join(id, testPeer(id)),
        ...server.say(id, { type: "present", record: new Uint8Array([id]) }),
        ...server.say(id, { type: "introduce", count: 2 }),
      ]);
    };
    expect(run()).toEqual(run());
  });
});
