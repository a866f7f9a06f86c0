import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, run } from "./command.ts";

/** The scripted tour of `npm run demo`, as a person or a pipeline runs it. */

test("the tour ends with 0 and a summary of its steps, and leaves no process and no file behind", async () => {
  const temporary = await freshFolder();
  const outcome = await run("npm", ["run", "-s", "demo", "--", "--once", "--nodes", "3", "--json"], {
    env: { TMPDIR: temporary },
    timeoutMs: 60_000,
  });
  expect(outcome.code, outcome.stderr).toBe(0);
  const summary = JSON.parse(outcome.stdout);
  expect(summary).toMatchObject({ ok: true, nodes: 3, rtc: "auto", totalMs: expect.any(Number) });
  expect(summary.steps.map((step: { step: string }) => step.step)).toEqual([
    "a cluster is made and its signaling server runs",
    "3 agents join and all know all",
    "a value written on one is read on all",
    "one is killed with SIGKILL and every survivor knows",
    "writes go on without it",
    "it restarts under its key and catches up",
    "the signaling server is killed and writes still spread",
    "everything stops and leaves nothing behind",
  ]);
  for (const step of summary.steps)
    expect(step).toEqual({ step: expect.any(String), ok: true, ms: expect.any(Number) });
  expect((await readdir(temporary)).filter((name) => name.startsWith("starling"))).toEqual([]);
  expect(await commandLinesWith(temporary)).toEqual([]);
}, 70_000);

test("a tour of two nodes is refused as a mistake of usage", async () => {
  const outcome = await run("npm", ["run", "-s", "demo", "--", "--once", "--nodes", "2"]);
  expect(outcome).toMatchObject({ code: 2, stdout: "" });
  expect(outcome.stderr).toContain("--nodes 3");
});

/** The command lines of living processes that name `text`, where the system shows them. */
async function commandLinesWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(join("/proc", pid, "cmdline"), "utf8").catch(() => "");
    if (line.includes(text)) found.push(line.replaceAll("\0", " "));
  }
  return found;
}
