/** The thread that owns a store's files: runs what it is asked, one request after the other. */
import { createHmac } from "node:crypto";
import { parentPort } from "node:worker_threads";
import { assert } from "../../proto/assert.ts";
import { DamagedFile, DiskFull } from "./backend.ts";
import { Folder } from "./folder.ts";
import { packRows, unpackSteps } from "./packed.ts";
import { type Answer, type Failure, numbersOf, type Request, type Results } from "./requests.ts";
import type { TableKind } from "./row-table.ts";

const port = parentPort;
assert(port !== null, "this module runs in a thread of its own");

const mac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac("sha256", key).update(data).digest();
let folder: Folder | undefined;

/** The package of a kind of file is not installed. */
class PackageMissing extends Error {}

async function kindOf(name: "sqlite" | "lmdb"): Promise<TableKind> {
  try {
    // Each is loaded only where it is used: one package is optional, the other not in every Node.
    return name === "sqlite"
      ? (await import("./sqlite-table.ts")).sqliteKind
      : (await import("./lmdb-table.ts")).lmdbKind;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && /MODULE_NOT_FOUND|UNKNOWN_BUILTIN/.test(String(cause.code)))
      throw new PackageMissing(cause.message);
    throw cause;
  }
}

async function perform(request: Request): Promise<Results[keyof Results]> {
  if (request.type === "open") {
    folder = new Folder(request.folder, await kindOf(request.kind), mac);
    return folder.found;
  }
  assert(folder !== undefined, "a folder is opened first");
  switch (request.type) {
    case "write":
      folder.write(unpackSteps(request.packed), request.mark);
      return undefined;
    case "write-format":
      folder.writeFormat(request.format);
      return undefined;
    case "page":
      return packRows(folder.page(request.after));
    case "read":
      return folder.read(request.address);
    case "tally":
      return numbersOf(folder.tally());
    case "file-bytes":
      return folder.fileBytes();
    case "compact":
      folder.compact();
      return undefined;
    case "rescue": {
      const { setAside, tally } = folder.rescue(request.without, request.mark);
      return { setAside, tally: numbersOf(tally) };
    }
    case "close":
      folder.close();
      return undefined;
  }
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof DamagedFile) return { type: "damaged", message };
  if (error instanceof DiskFull) return { type: "full", message };
  return { type: error instanceof PackageMissing ? "missing" : "other", message };
}

let last: Promise<void> = Promise.resolve();
port.on("message", (request: Request) => {
  last = last.then(async () => {
    let answer: Answer;
    try {
      answer = { ok: true, value: await perform(request) };
    } catch (error) {
      answer = { ok: false, failure: failureOf(error) };
    }
    const bytes = answer.ok && answer.value instanceof Uint8Array ? answer.value : undefined;
    port.postMessage(
      answer,
      bytes?.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength ? [bytes.buffer] : [],
    );
  });
});
