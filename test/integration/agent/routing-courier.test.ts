import { beforeEach, describe, expect, test } from "vitest";
import { Courier } from "../../../src/agent/courier.ts";
import { id } from "../../proto/routing/world.ts";

/** Which way a letter takes, with nothing real on either way. */

const PEER = id(1);
const LETTER = Uint8Array.of(1);

let now: number;
let sent: string[];
let requests: number[];
let hasMesh: boolean;
let isNew: boolean;
let courier: Courier;

beforeEach(() => {
  now = 1_000_000;
  sent = [];
  requests = [];
  hasMesh = true;
  isNew = false;
  courier = new Courier(
    {
      post: () => void sent.push("server"),
      carry: (_to, _letter, request) => {
        if (!hasMesh) return false;
        sent.push("mesh");
        requests.push(request);
        return true;
      },
      isNew: () => isNew,
    },
    () => now,
  );
});

const taken = (): string[] => sent.splice(0);
const last = (): number => requests.at(-1) ?? -1;

describe("a letter", () => {
  test("goes by the mesh, and by nothing else when it arrives", () => {
    courier.send(PEER, LETTER);
    courier.carried(last(), true);
    expect(taken()).toEqual(["mesh"]);
    courier.linked(PEER);
    expect(courier.signaledBy(PEER)).toBe("mesh");
  });

  test("goes by a server when the mesh finds no way, and so do the next ones for five seconds", () => {
    courier.send(PEER, LETTER);
    courier.send(PEER, LETTER);
    courier.carried(1, false);
    courier.carried(2, false);
    expect(taken()).toEqual(["mesh", "mesh", "server", "server"]);
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["server"]);
    courier.linked(PEER);
    expect(courier.signaledBy(PEER)).toBe("server");
    courier.lost(PEER);
    now += 5_000;
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["mesh"]);
  });

  test("to whoever has written by a server goes by a server, until it is linked", () => {
    courier.received(PEER, "server");
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["server"]);
    courier.linked(PEER);
    expect(courier.signaledBy(PEER)).toBe("server");
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["mesh"]);
  });

  test("to whoever has written by the mesh goes by the mesh, even if it could not be reached before", () => {
    courier.send(PEER, LETTER);
    courier.carried(last(), false);
    courier.received(PEER, "mesh");
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["mesh", "server", "mesh"]);
  });

  test("from or to a newcomer goes by a server, and by the mesh once neither is new", () => {
    isNew = true;
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["server"]);
    isNew = false;
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["mesh"]);
  });

  test("that no server could deliver goes by the mesh, and so does the next one; it counts for no link", () => {
    isNew = true;
    courier.send(PEER, LETTER);
    expect(courier.unreachable(PEER, LETTER)).toBe(true);
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["server", "mesh", "mesh"]);
    courier.linked(PEER);
    expect(courier.signaledBy(PEER)).toBe("mesh");
  });

  test("that neither way could deliver is given up", () => {
    courier.send(PEER, LETTER);
    courier.carried(last(), false);
    expect(courier.unreachable(PEER, LETTER)).toBe(false);
    expect(taken()).toEqual(["mesh", "server"]);
  });

  test("that was on its way when the link came up takes no other way", () => {
    courier.send(PEER, LETTER);
    courier.linked(PEER);
    courier.carried(last(), false);
    expect(taken()).toEqual(["mesh"]);
  });

  test("of the peer's that came by a server counts for the link, also when ours went by the mesh", () => {
    courier.send(PEER, LETTER);
    courier.received(PEER, "server");
    courier.linked(PEER);
    expect(courier.signaledBy(PEER)).toBe("server");
    courier.received(PEER, "server");
    now += 30_000;
    courier.linked(PEER);
    expect(courier.signaledBy(PEER)).toBe("mesh");
  });

  test("goes by a server while there is no mesh", () => {
    hasMesh = false;
    courier.send(PEER, LETTER);
    expect(taken()).toEqual(["server"]);
  });
});
