import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

/** What stacks leave behind in a process. Each case is a process of its own that must come to its end by itself. */

const CHILD = join(import.meta.dirname, "rtc-child.ts");

/** Runs {@link CHILD} and says how long after its last act the process was gone, ms. */
function lingering(stack: string, step: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, stack, step], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.on("data", (data) => {
      output += data;
    });
    child.stderr.on("data", (data) => {
      errors += data;
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      if (code !== 0) reject(new Error(`exit ${code ?? signal}: ${errors}`));
      else resolve(Date.now() - Number(output));
    });
  });
}

/** The answerer is the DTLS client: werift's sends its first flight 100 ms after ICE has connected, closed or not. */
const STEPS = [
  "new",
  "description",
  "candidate",
  "ice-connected",
  "answerer ice-connected",
  "answerer ice-connected + 50",
  "silent-dtls",
  "open",
  "exchange",
];

for (const stack of ["native", "werift"]) {
  for (const step of STEPS) {
    test(`a process exits by itself within two seconds after closing ${stack} connections at: ${step}`, async () => {
      expect(await lingering(stack, step)).toBeLessThan(2_000);
    });
  }
}
