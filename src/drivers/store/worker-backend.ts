/** A backend whose files belong to a thread of their own, so that waiting for the disk stops nobody else. */
import { Worker } from "node:worker_threads";
import { StarlingError } from "../../errors.ts";
import { assert } from "../../proto/assert.ts";
import { type Backend, DamagedFile, DiskFull, type Found } from "./backend.ts";
import { type PackedSteps, packSteps, unpackRows } from "./packed.ts";
import type { Answer, Failure, Request, Results, TallyNumbers } from "./requests.ts";
import { Tally } from "./tally.ts";

// From source the thread runs from source as well.
const WORKER = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);

/** Opens or creates a store's files in `folder`. Throws `store-unavailable`. */
export async function openWorkerBackend(kind: "sqlite" | "lmdb", folder: string): Promise<Backend> {
  const thread = new Thread(kind);
  try {
    return backendOf(thread, await thread.ask({ type: "open", kind, folder }));
  } catch (error) {
    await thread.end();
    throw error;
  }
}

function backendOf(thread: Thread, found: Found): Backend {
  return {
    found,
    write: ({ steps, mark }) => thread.ask({ type: "write", packed: packSteps(steps), mark }),
    writeFormat: (format) => thread.ask({ type: "write-format", format }),
    page: async (after) => unpackRows(await thread.ask({ type: "page", after })),
    read: (address) => thread.ask({ type: "read", address }),
    tally: async () => tallyOf(await thread.ask({ type: "tally" })),
    fileBytes: () => thread.ask({ type: "file-bytes" }),
    compact: () => thread.ask({ type: "compact" }),
    rescue: async (without, mark) => {
      const { setAside, tally } = await thread.ask({ type: "rescue", without, mark });
      return { setAside, tally: tallyOf(tally) };
    },
    close: async () => {
      try {
        await thread.ask({ type: "close" });
      } finally {
        await thread.end();
      }
    },
  };
}

function tallyOf(numbers: TallyNumbers): Tally {
  const tally = Tally.decode(numbers);
  assert(tally !== undefined, "our own thread speaks our language");
  return tally;
}

/** The thread, and who waits for its answers. It keeps the process alive only while somebody waits. */
class Thread {
  readonly #worker: Worker;
  readonly #kind: string;
  readonly #waiting: PromiseWithResolvers<unknown>[] = [];
  #failure: Error | undefined;

  constructor(kind: string) {
    this.#kind = kind;
    // Its own flags: those of the process may name files that do not concern it. Node 22 calls its SQLite experimental.
    this.#worker = new Worker(WORKER, {
      name: `starling-${kind}`,
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    this.#worker.on("message", (answer: Answer) => this.#settle(answer));
    this.#worker.on("error", (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    this.#worker.on("exit", (code) => this.#fail(new Error(`the thread of the store ended with ${code}`)));
    this.#worker.unref();
  }

  ask<Type extends Request["type"]>(request: Request & { readonly type: Type }): Promise<Results[Type]> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.push(answer);
    this.#worker.ref();
    this.#worker.postMessage(request, "packed" in request ? buffersOf(request.packed) : []);
    return answer.promise as Promise<Results[Type]>;
  }

  async end(): Promise<void> {
    this.#failure ??= new Error("the store is closed");
    await this.#worker.terminate();
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.shift();
    if (this.#waiting.length === 0) this.#worker.unref();
    if (answer.ok) waiting?.resolve(answer.value);
    else waiting?.reject(errorOf(answer.failure, this.#kind));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }
}

/** All buffers of a transaction, to be handed over. */
function buffersOf({ steps, large }: PackedSteps): ArrayBuffer[] {
  return [steps, ...large].map(({ buffer }) => {
    assert(buffer instanceof ArrayBuffer, "an envelope lies in memory of this thread");
    return buffer;
  });
}

function errorOf({ type, message }: Failure, kind: string): Error {
  switch (type) {
    case "damaged":
      return new DamagedFile(message);
    case "full":
      return new DiskFull(message);
    case "missing": {
      const advice =
        kind === "lmdb" ? "run `npm install lmdb`, or choose the store `sqlite`" : "use Node 22.18 or newer";
      return new StarlingError("store-unavailable", `the ${kind} store cannot be loaded (${message}); ${advice}`);
    }
    case "other":
      return new Error(message);
  }
}
