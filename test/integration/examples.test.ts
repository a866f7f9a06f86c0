import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, ROOT, run } from "./command.ts";

/** Every example runs by itself, says what it should, ends with 0 and leaves no file behind. */

const EXPECTED: Readonly<Record<string, RegExp>> = {
  members:
    /^watcher is up \(.{8}\)\nalice is up \(.{8}\)\nbob is up \(.{8}\)\nalice has left\nbob is down\nin the end: alice left, bob down, watcher alive\nwatcher has left\n$/,
  chat: /^alice: hello\nalice: how is the weather behind your NAT\?\nalice: goodbye\nbob: you said 5 letters\nbob: you said 35 letters\nbob: you said 7 letters\n$/,
  notes:
    /^bob writes at the end\nalice reads: first line\nsecond line\nbob reads: first line\nsecond line\nalice sees bob at line 2\n$/,
  counter: /^alice reads 15\nbob reads 15\ncarol reads 15\n$/,
};

for (const [name, output] of Object.entries(EXPECTED)) {
  test(`the example ${name} says what it should, ends and leaves nothing behind`, async () => {
    const temporary = await freshFolder();
    const program = join(ROOT, "examples", `${name}.ts`);
    const outcome = await run(process.execPath, [program], { env: { TMPDIR: temporary } });
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(outcome.stdout).toMatch(output);
    expect(await readdir(temporary)).toEqual([]);
  });
}

test("every example has an npm script", async () => {
  const { scripts } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { scripts: object };
  for (const name of Object.keys(EXPECTED)) {
    expect(scripts).toHaveProperty([`example:${name}`], `node examples/${name}.ts`);
  }
});
