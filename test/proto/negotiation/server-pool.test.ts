import { expect, test } from "vitest";
import { parseIceUrl } from "../../../src/proto/negotiation/ice-url.ts";
import type { IceServer } from "../../../src/proto/negotiation/rtc.ts";
import { ServerPool } from "../../../src/proto/negotiation/server-pool.ts";

const turn = (url: string): IceServer => ({ urls: url, username: "me", credential: "hush" });
const urls = (pool: ServerPool, rung: "udp" | "tcp" | "tls", now = 0): unknown[] =>
  pool.choose(rung, now).map((server) => server.urls);

test.each([
  ["stun:a.example", { kind: "stun", transport: "udp", host: "a.example", port: 3478 }],
  ["turn:[2001:db8::1]:99", { kind: "turn", transport: "udp", host: "2001:db8::1", port: 99 }],
  ["turn:a.example?transport=tcp", { kind: "turn", transport: "tcp", host: "a.example", port: 3478 }],
  ["TURNS:a.example", { kind: "turn", transport: "tls", host: "a.example", port: 5349 }],
  ["turns:a.example:443?transport=tcp", { kind: "turn", transport: "tls", host: "a.example", port: 443 }],
  ["turns:a.example?transport=udp", "unsupported"],
  ["stuns:a.example", "unsupported"],
  ["stun:a.example?transport=tcp", "unsupported"],
  ["stun:a.example:0", "port"],
  ["turn:a.example:70000", "port"],
  ["http://a.example", "malformed"],
  ["turn:a.example?transport=sctp", "malformed"],
])("%s is read as what it is", (url, expected) => {
  expect(parseIceUrl(url)).toEqual(expected);
});

test("a connection gets one server of each kind that its rung can use, with the credential of the latter", () => {
  const pool = new ServerPool([
    { urls: ["stun:a.example", "stun:b.example"] },
    turn("turn:c.example"),
    { urls: ["turn:d.example?transport=tcp", "turns:d.example"], username: "you", credential: "sesame" },
  ]);
  expect(pool.choose("udp", 0)).toEqual([{ urls: "stun:a.example" }, turn("turn:c.example")]);
  expect(pool.choose("tls", 0)).toEqual([{ urls: "turns:d.example", username: "you", credential: "sesame" }]);
  expect(pool.ways(0)).toEqual({ tcp: true, tls: true });
  expect(new ServerPool([turn("turn:c.example")]).ways(0)).toEqual({ tcp: false, tls: false });
});

test("the STUN server is on another host than the TURN server where there is a choice", () => {
  const pool = new ServerPool([{ urls: ["stun:a.example", "stun:b.example"] }, turn("turn:a.example")]);
  expect(urls(pool, "udp")).toEqual(["stun:b.example", "turn:a.example"]);
  pool.silent("stun:b.example", 0);
  expect(urls(pool, "udp")).toEqual(["stun:a.example", "turn:a.example"]);
});

test("of servers that answer the quickest is taken, as the last answers have it", () => {
  const pool = new ServerPool([{ urls: ["stun:a.example", "stun:b.example"] }]);
  pool.answered("stun:a.example", 100);
  pool.answered("stun:b.example", 50);
  expect(urls(pool, "udp")).toEqual(["stun:b.example"]);
  for (let turns = 0; turns < 4; turns++) pool.answered("stun:b.example", 500);
  expect(urls(pool, "udp")).toEqual(["stun:a.example"]);
});

test("a silent server is passed over for 30 s, then twice as long, and 10 min at most", () => {
  const pool = new ServerPool([{ urls: ["stun:a.example", "stun:b.example"] }]);
  let now = 0;
  for (const pauseMs of [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000]) {
    pool.silent("stun:a.example", now);
    expect(urls(pool, "udp", now + pauseMs - 1)).toEqual(["stun:b.example"]);
    now += pauseMs;
    expect(urls(pool, "udp", now)).toEqual(["stun:a.example"]);
  }
  pool.answered("stun:a.example", 10);
  pool.answered("stun:b.example", 50);
  pool.silent("stun:a.example", now);
  expect(urls(pool, "udp", now + 30_000)).toEqual(["stun:a.example"]);
});

test("a server that was never asked is tried before those that are known", () => {
  const pool = new ServerPool([{ urls: ["stun:a.example", "stun:b.example"] }]);
  pool.answered("stun:a.example", 1);
  expect(urls(pool, "udp")).toEqual(["stun:b.example"]);
});

test("silence that several connections meet at once counts once", () => {
  const pool = new ServerPool([{ urls: "stun:a.example" }]);
  for (let turns = 0; turns < 5; turns++) pool.silent("stun:a.example", 0);
  expect(pool.standings()).toEqual([{ url: "stun:a.example", latencyMs: undefined, silences: 1 }]);
});

test("where all are silent the one whose time is up first is taken", () => {
  const pool = new ServerPool([{ urls: ["stun:a.example", "stun:b.example"] }]);
  pool.silent("stun:a.example", 100);
  pool.silent("stun:b.example", 0);
  expect(urls(pool, "udp", 200)).toEqual(["stun:b.example"]);
});

test("a server whose credential has ended, or that has none, is not used for TURN", () => {
  const pool = new ServerPool([{ ...turn("turn:a.example"), expiresAt: 1_000 }, { urls: "turn:b.example" }]);
  expect([urls(pool, "udp", 999), urls(pool, "udp", 1_000)]).toEqual([["turn:a.example"], []]);
});

test("fresh credentials take the place of old ones, and what is known of a server stays", () => {
  const pool = new ServerPool([turn("turn:a.example"), turn("turn:b.example")]);
  pool.silent("turn:a.example", 0);
  pool.update([{ urls: ["turn:a.example", "turn:b.example"], username: "new", credential: "word" }]);
  expect(pool.choose("udp", 1)).toEqual([{ urls: "turn:b.example", username: "new", credential: "word" }]);
  pool.update([turn("turn:c.example")]);
  expect(pool.standings()).toEqual([{ url: "turn:c.example", latencyMs: undefined, silences: 0 }]);
});

test("what no stack speaks, and what comes after 64 URLs, is passed over; nothing is said of strangers", () => {
  const many = Array.from({ length: 70 }, (_, index) => `stun:s${index}.example`);
  const pool = new ServerPool([{ urls: ["stuns:x.example", "nonsense", ...many] }]);
  expect(pool.standings()).toHaveLength(64);
  pool.answered("stun:elsewhere.example", 1);
  pool.silent("stun:elsewhere.example", 1);
  expect(pool.standings()).toHaveLength(64);
});
