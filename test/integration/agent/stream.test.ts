import { expect, test } from "vitest";
import { MeshStream } from "../../../src/agent/stream.ts";
import { StarlingError } from "../../../src/errors.ts";
import { fromUtf8 } from "../../../src/proto/bytes.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";

/** A stream and the link below it, which has room for `room` messages. */
function setUp(room: number) {
  const log: string[] = [];
  const link = { room };
  const stream = new MeshStream(peerIdOf(new Uint8Array(32).fill(7)), "chat/1", 8, {
    send: (_id, message) => {
      if (link.room-- <= 0) throw new Error("the link has no room");
      log.push(fromUtf8(message) ?? "?");
    },
    writable: () => link.room > 0,
    consumed: () => {},
    end: () => void log.push("end"),
    reset: () => void log.push("reset"),
  });
  const drain = async (more: number) => {
    link.room = more;
    stream.drained();
    await Promise.resolve();
  };
  return { log, stream, drain };
}

test("messages sent while there is no room go in order, and nothing that is sent later overtakes them", async () => {
  const { log, stream, drain } = setUp(1);
  const settled: number[] = [];
  const all = [0, 1, 2, 3].map((index) => stream.send(`${index}`).then(() => settled.push(index)));
  await drain(2);
  expect(log).toEqual(["0", "1", "2"]);
  await drain(0);
  // Room, but the link has not said so yet.
  const { room } = { room: 5 };
  const draining = drain(room);
  expect(stream.offer(Uint8Array.of(0x78))).toBe(false);
  const last = stream.send("4");
  await draining;
  await Promise.all([...all, last]);
  expect(log).toEqual(["0", "1", "2", "3", "4"]);
  expect(settled).toEqual([0, 1, 2, 3]);
  expect(stream.offer(Uint8Array.of(0x78))).toBe(true);
});

test("bytes that were handed over may be changed, whether they have left, wait or lie in one of Node's own buffers", async () => {
  const sent: Uint8Array[] = [];
  let room = 2;
  const stream = new MeshStream(peerIdOf(new Uint8Array(32).fill(7)), "chat/1", 8, {
    send: (_id, message) => {
      room--;
      sent.push(message);
    },
    writable: () => room > 0,
    consumed: () => {},
    end: () => {},
    reset: () => {},
  });
  const all = [new Uint8Array(3), Buffer.alloc(3), new Uint8Array(3)].map((message) => {
    const sending = stream.send(message);
    message.fill(1);
    return sending;
  });
  expect(sent).toHaveLength(2);
  room = 1;
  stream.drained();
  await Promise.all(all);
  expect(sent.map((message) => [...message])).toEqual([
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ]);
});

test("the end follows what waits, and nothing is taken after it", async () => {
  const { log, stream, drain } = setUp(0);
  const sent = stream.send("last");
  stream.end();
  expect(log).toEqual([]);
  await expect(stream.send("later")).rejects.toThrow(StarlingError);
  await drain(8);
  await sent;
  expect(log).toEqual(["last", "end"]);
  expect(stream.offer(Uint8Array.of(1))).toBe(false);
  stream.end();
  expect(log).toEqual(["last", "end"]);
});

test("what waits is rejected when the stream is lost", async () => {
  const { stream } = setUp(0);
  const waiting = [stream.send("a"), stream.send("b"), stream.writable()];
  stream.fail(new StarlingError("closed", "gone"));
  for (const promise of waiting) await expect(promise).rejects.toThrow("gone");
});
