import { expect, test } from "vitest";
import { FrameWriter } from "../../src/proto/streams/frame-writer.ts";
import { frameBytes } from "./frame-bytes.ts";

test.each([
  [0, 5],
  [1, 127],
  [1, 128],
  [3, 20_000],
])("a message on lane %i of %i bytes counts as what the frame of a link takes", (lane, length) => {
  const writer = new FrameWriter();
  writer.begin(65_536);
  writer.whole(lane, new Uint8Array(length));
  expect(frameBytes(lane, length)).toBe(writer.finish().length);
});
