import { expect, test } from "vitest";
import { lazyStack } from "../../src/drivers/rtc.lazy.ts";
import { weriftStack } from "../../src/drivers/rtc.werift.ts";
import type { RtcConnection, RtcEvent } from "../../src/proto/negotiation/rtc.ts";
import type { RtcStack } from "../../src/rtc.ts";
import { closePair, LOOPBACK, pairOf } from "./rtc-pair.ts";

/** A stack that writes down what it is told, and one that is loaded when the test says so. */
function lab(): {
  said: string[];
  loads: () => number;
  arrive(): Promise<void>;
  fail(): Promise<void>;
  stack: ReturnType<typeof lazyStack>;
} {
  const said: string[] = [];
  const loaded = Promise.withResolvers<RtcStack>();
  let loads = 0;
  const inner: RtcStack = {
    name: "slow",
    maxFrameBytes: 65_536,
    connect: () => {
      said.push("connect");
      return recorder(said);
    },
    close: async () => void said.push("stack closed"),
  };
  const stack = lazyStack("slow", 65_536, () => {
    loads++;
    return loaded.promise;
  });
  return {
    said,
    stack,
    loads: () => loads,
    arrive: async () => {
      loaded.resolve(inner);
      await loaded.promise;
    },
    fail: async () => {
      loaded.reject(new Error("no such stack"));
      await loaded.promise.catch(() => undefined);
      await Promise.resolve();
    },
  };
}

function recorder(said: string[]): RtcConnection {
  return {
    offer: () => void said.push("offer"),
    answer: (sdp) => void said.push(`answer ${sdp}`),
    accept: (sdp) => void said.push(`accept ${sdp}`),
    candidate: (candidate, mid) => void said.push(`candidate ${candidate} ${mid}`),
    send: () => true,
    bufferedAmount: 7,
    set lowWaterMark(bytes: number) {
      said.push(`mark ${bytes}`);
    },
    remoteFingerprint: () => undefined,
    selectedPair: () => undefined,
    close: () => void said.push("close"),
  };
}

const options = { initiator: true, iceServers: [] };

test("a stack is loaded once, when a connection is first asked for, and not to be closed", async () => {
  const { stack, loads, said, arrive } = lab();
  await lab().stack.close();
  expect(loads()).toBe(0);
  stack.connect(options, () => undefined);
  stack.connect(options, () => undefined);
  await arrive();
  expect([loads(), said.filter((word) => word === "connect").length]).toEqual([1, 2]);
  await stack.close();
  expect(said.at(-1)).toBe("stack closed");
});

test("what a connection is told before its stack is there is done then, in order", async () => {
  const { stack, said, arrive } = lab();
  const connection = stack.connect(options, () => undefined);
  connection.offer();
  connection.lowWaterMark = 5;
  connection.accept("sdp");
  connection.candidate("one", "0");
  expect([connection.send(Uint8Array.of(1)), connection.bufferedAmount, connection.selectedPair()]).toEqual([
    false,
    0,
    undefined,
  ]);
  await arrive();
  connection.candidate("two", "0");
  expect(said).toEqual(["connect", "mark 5", "offer", "accept sdp", "candidate one 0", "candidate two 0"]);
  expect([connection.send(Uint8Array.of(1)), connection.bufferedAmount]).toEqual([true, 7]);
});

test("a stack that is warmed is there when a connection wants it, and one that cannot be loaded harms nobody", async () => {
  const { stack, loads, arrive } = lab();
  stack.warm();
  await arrive();
  stack.connect(options, () => undefined).offer();
  expect(loads()).toBe(1);
  const broken = lab();
  broken.stack.warm();
  await broken.fail();
});

test("a connection that is closed before its stack is there never begins", async () => {
  const { stack, said, arrive } = lab();
  const events: RtcEvent[] = [];
  const connection = stack.connect(options, (event) => events.push(event));
  connection.offer();
  connection.close();
  await arrive();
  expect([said, events]).toEqual([[], [{ type: "closed", reason: "closed here" }]]);
});

test("a stack that cannot be loaded closes its connections and says why", async () => {
  const { stack, fail } = lab();
  const events: RtcEvent[] = [];
  stack.connect(options, (event) => events.push(event)).offer();
  await fail();
  await Promise.resolve();
  expect(events).toEqual([{ type: "closed", reason: "no such stack" }]);
  await stack.close();
});

test("two ends over a stack that is loaded late open and pass a frame", async () => {
  const stack = lazyStack("werift", 65_536, async () => weriftStack());
  const pair = pairOf(stack, stack, { options: LOOPBACK });
  pair.initiator.connection.offer();
  await Promise.all([pair.initiator.opened(), pair.answerer.opened()]);
  pair.initiator.connection.send(Uint8Array.of(1, 2, 3));
  await pair.answerer.received(1);
  expect(Uint8Array.from(pair.answerer.frames[0] ?? [])).toEqual(Uint8Array.of(1, 2, 3));
  await closePair(pair);
  await stack.close();
});
