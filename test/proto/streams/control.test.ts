import { describe, expect, test } from "vitest";
import {
  decodeLinkControl,
  decodeStreamControl,
  encodeLinkControl,
  encodeStreamControl,
  isProtocolName,
  type LinkControl,
  type StreamControl,
} from "../../../src/proto/streams/control.ts";

const LINK_CONTROLS: readonly (readonly [LinkControl, readonly number[]])[] = [
  [{ op: "ack", frames: 300, delayMs: 1.5 }, [2, 4, 16, 0xac, 2, 15]],
  [{ op: "ping", id: 7 }, [2, 2, 17, 7]],
  [{ op: "pong", id: 128 }, [2, 3, 18, 0x80, 1]],
  [{ op: "goodbye", reason: "leaving" }, [2, 2, 19, 0]],
  [{ op: "goodbye", reason: "protocol" }, [2, 2, 19, 5]],
];

// Stream 8: its control head is 8 * 4 + 2.
const STREAM_CONTROLS: readonly (readonly [StreamControl, readonly number[]])[] = [
  [{ op: "open", windowBytes: 16_384, priority: "bulk", protocol: "a/1" }, [34, 8, 1, 0x80, 0x80, 1, 2, 97, 47, 49]],
  [{ op: "accept", windowBytes: 65_536 }, [34, 4, 2, 0x80, 0x80, 4]],
  [{ op: "refuse", reason: "busy" }, [34, 2, 3, 2]],
  [{ op: "credit", bytes: 1 }, [34, 2, 4, 1]],
  [{ op: "fin" }, [34, 1, 5]],
  [{ op: "reset", code: 16 }, [34, 2, 6, 16]],
];

describe("control chunks", () => {
  test.each(LINK_CONTROLS)("of the link: %j", (control, bytes) => {
    expect([...encodeLinkControl(control)]).toEqual(bytes);
    expect(decodeLinkControl(Uint8Array.from(bytes), 2, bytes.length)).toEqual(control);
  });

  test.each(STREAM_CONTROLS)("of a stream: %j", (control, bytes) => {
    expect([...encodeStreamControl(8, control)]).toEqual(bytes);
    expect(decodeStreamControl(Uint8Array.from(bytes), 2, bytes.length)).toEqual(control);
  });

  test.each([
    ["nothing", [], "malformed-control"],
    ["an operation of no meaning", [99], "unknown-op"],
    ["an operation of a stream", [1, 0], "unknown-op"],
    ["an acknowledgement without a delay", [16, 1], "malformed-control"],
    ["an acknowledgement with more behind", [16, 1, 0, 0], "malformed-control"],
    ["a number cut short", [17, 0x80], "malformed-control"],
    ["a ping with more behind", [17, 1, 1], "malformed-control"],
    ["a goodbye for no known reason", [19, 77], "malformed-control"],
  ] as const)("a link control that is %s is a fault", (_, bytes, fault) => {
    expect(decodeLinkControl(Uint8Array.from(bytes), 0, bytes.length)).toBe(fault);
  });

  test.each([
    ["nothing", [], "malformed-control"],
    ["an operation of the link", [16, 1, 0], "unknown-op"],
    ["an open without a name", [1, 0x80, 0x80, 1, 0], "malformed-control"],
    ["an open without a priority", [1, 0x80, 0x80, 1], "malformed-control"],
    ["an open of no known priority", [1, 0x80, 0x80, 1, 3, 97], "malformed-control"],
    ["an open whose window is below the early credit", [1, 1, 0, 97], "malformed-control"],
    ["an open whose name is not UTF-8", [1, 0x80, 0x80, 1, 0, 0xff], "malformed-control"],
    ["an open whose name is too long", [1, 0x80, 0x80, 1, 0, ...new Array<number>(65).fill(97)], "malformed-control"],
    ["an accept beyond all reason", [2, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "malformed-control"],
    ["a refusal for no known reason", [3, 50], "malformed-control"],
    ["a fin with more behind", [5, 0], "malformed-control"],
    ["a reset code of more than 32 bits", [6, 0x80, 0x80, 0x80, 0x80, 0x10], "malformed-control"],
  ] as const)("a stream control that is %s is a fault", (_, bytes, fault) => {
    expect(decodeStreamControl(Uint8Array.from(bytes), 0, bytes.length)).toBe(fault);
  });

  test("a protocol name has 1 to 64 bytes", () => {
    expect(isProtocolName("")).toBe(false);
    expect(isProtocolName("é".repeat(32))).toBe(true);
    expect(isProtocolName("é".repeat(32).concat("x"))).toBe(false);
  });
});
