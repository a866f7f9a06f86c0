import { writeSync } from "node:fs";
import { readFile, rename, writeFile } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { openKeyRing } from "../../../src/drivers/store/key-ring.ts";
import type { SecretFile } from "../../../src/store.ts";
import { batch, type Extra } from "./kill.ts";
import { type FileKind, openIn } from "./stores.ts";

/**
 * A process that writes to a store until it is killed: `kill-child.ts KIND FOLDER KEYS RUN EXTRA`. It writes the number of each batch
 * to standard output once its commit has resolved, synchronously, so that what it has said survives it.
 */
const [kind, folder = "", keyFile = "", run = "", extra] = process.argv.slice(2);
const file: SecretFile = {
  read: () => readFile(keyFile).catch(() => undefined),
  write: async (bytes) => {
    await writeFile(`${keyFile}.new`, bytes);
    await rename(`${keyFile}.new`, keyFile);
  },
};
const keys = await openKeyRing(file);
const store = await openIn(kind as FileKind, folder, keys);
say("ready");
flushCompileCache();

/** Blocks until it is said: the pipe is full while the parent has no time to read. */
function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
  }
}

let next = 0;
async function writer(): Promise<never> {
  for (;;) {
    const number = next++;
    await store.commit(batch(Number(run), number));
    say(`${number}`);
  }
}

async function besides(what: Extra): Promise<void> {
  for (; what !== "nothing"; await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (what === "compact") await store.compact();
    else {
      if (keys.keys.length === 1) await keys.add();
      await store.reseal();
    }
  }
}

await Promise.all([besides(extra as Extra), ...Array.from({ length: 8 }, writer)]);
