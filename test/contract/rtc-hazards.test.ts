import { spawnSync } from "node:child_process";
import { Socket } from "node:dgram";
import dns from "node:dns";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { chooseStack } from "../../src/drivers/rtc.auto.ts";
import { weriftStack } from "../../src/drivers/rtc.werift.ts";
import { closePair, End, LOOPBACK, openPair } from "./rtc-pair.ts";

/** What the stacks do by themselves and must not do here. */

test("werift contacts nobody but the peer when it is given no servers", async () => {
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []));
  const send = vi.spyOn(Socket.prototype, "send");
  const lookups = [vi.spyOn(dns, "lookup"), vi.spyOn(dns.promises, "lookup")];
  const stack = weriftStack();
  await closePair(await openPair(stack, stack));
  await stack.close();
  const hosts = new Set(send.mock.calls.map((call) => String(call.at(2))));
  // A name would be looked up by the socket itself, by way of the same function.
  const names = lookups.flatMap((lookup) => lookup.mock.calls.map(([name]) => String(name)));
  vi.restoreAllMocks();
  expect(hosts.size).toBeGreaterThan(0);
  expect([...hosts].filter((host) => !own.has(host))).toEqual([]);
  expect(names.filter((name) => !own.has(name) && name !== "0.0.0.0" && name !== "::")).toEqual([]);
});

test("two werift stacks of one process have certificates of their own", async () => {
  const [one, two] = [weriftStack(), weriftStack()];
  const pair = await openPair(one, two);
  const fingerprint = (end: End) => /a=fingerprint:.*/.exec(end.sdp)?.[0];
  expect(fingerprint(pair.initiator)).toBeDefined();
  expect(fingerprint(pair.initiator)).not.toBe(fingerprint(pair.answerer));
  await closePair(pair);
});

test("5,000 frames handed to werift at once leave the event loop free", async () => {
  const stack = weriftStack();
  const pair = await openPair(stack, stack);
  for (let index = 0; index < 5_000; index++) pair.initiator.connection.send(new Uint8Array(100));
  expect(pair.initiator.connection.bufferedAmount).toBe(500_000);
  let longest = 0;
  let last = performance.now();
  const beat = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  await pair.answerer.received(5_000);
  clearInterval(beat);
  // Alone on the machine it is below 20 ms; with all of them in werift's hands it was seconds.
  expect(longest).toBeLessThan(500);
  expect(pair.initiator.connection.bufferedAmount).toBe(0);
  await closePair(pair);
  await stack.close();
});

test("a connection that never began holds nothing", async () => {
  for (const word of ["native", "werift"] as const) {
    const stack = await chooseStack(word);
    const end = new End(stack, { ...LOOPBACK, initiator: true });
    expect(end.connection.send(Uint8Array.of(1))).toBe(false);
    expect(end.connection.bufferedAmount).toBe(0);
    expect(end.connection.selectedPair()).toBeUndefined();
    expect(end.connection.remoteFingerprint()).toBeUndefined();
    end.connection.candidate("candidate:1 1 UDP 1 192.0.2.1 5 typ host", "0");
    end.connection.close();
    await end.closed();
    end.connection.offer();
    await stack.close();
    expect(end.events.map(({ type }) => type)).toEqual(["closed"]);
  }
});

test("auto takes the native stack where it loads", async () => {
  expect((await chooseStack("auto")).name).toBe("native");
});

/** A network namespace with nothing but its loopback interface; needs the right to make one. */
const ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'] as const;
const canBeAlone = spawnSync(ALONE[0], [...ALONE.slice(1), "true"]).status === 0;

for (const stack of ["native", "werift"]) {
  test.skipIf(!canBeAlone)(`${stack} opens on a machine that has only a loopback interface`, () => {
    const child = join(import.meta.dirname, "rtc-child.ts");
    const run = spawnSync(ALONE[0], [...ALONE.slice(1), process.execPath, child, stack, "exchange"], {
      encoding: "utf8",
      timeout: 20_000,
    });
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
  });
}
