import { expect, test } from "vitest";
import { Outputs } from "../../src/proto/outputs.ts";

test("what an input causes is handed over once, in order, and gathering begins anew", () => {
  const outputs = new Outputs<string>();
  expect(outputs.take()).toEqual([]);
  for (const output of ["first", "second", "third"]) outputs.push(output);
  const taken = outputs.take();
  outputs.push("later");
  expect(taken).toEqual(["first", "second", "third"]);
  expect(outputs.take()).toEqual(["later"]);
  expect(outputs.take()).toEqual([]);
});
