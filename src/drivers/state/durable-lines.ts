import { type FileHandle, open } from "node:fs/promises";
import { StarlingError } from "../../errors.ts";
import { errorCode, readPrivate, writePrivate } from "./private-files.ts";

/**
 * A private file of lines that is only ever made longer, or written anew as a whole. Callers that come while a write is under way
 * share the next one, and one fsync. A last line without its end was never answered for and is not read. After a write that
 * failed nobody can say what is on the disk: every further one then fails until the process starts again.
 */

/** Lines appended before the file is written anew, at least: what a start reads in a blink. Beyond, as many as it began with. */
const MIN_APPENDED = 10_000;

/** The whole lines of the file at `path`; none where there is no file. Throws `state-corrupt` beyond `maxBytes`. */
export async function readLines(path: string, maxBytes: number): Promise<readonly string[]> {
  const content = (await readPrivate(path, maxBytes)) ?? new Uint8Array(0);
  const whole = Buffer.from(content.subarray(0, content.lastIndexOf(10) + 1)).toString("utf8");
  return whole.split("\n").filter((line) => line !== "");
}

/** See above. */
export class DurableLines {
  readonly #path: string;
  readonly #all: () => Iterable<string>;
  #file: FileHandle | undefined;
  #failure: StarlingError | undefined;
  #outgrown = false;
  #base = 0;
  #appended = 0;
  /** Lines that wait for the disk, and the write that will take them. */
  #waiting: string[] = [];
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** @param all every line that still counts, for when the file is written anew. */
  constructor(path: string, all: () => Iterable<string>) {
    this.#path = path;
    this.#all = all;
  }

  /** Writes the file anew and opens it for appending. Before the first {@link append}. */
  begin(): Promise<void> {
    return this.#rewrite();
  }

  /** Some lines of the file count no more: the next write writes it anew. */
  outgrow(): void {
    this.#outgrown = true;
  }

  /** Adds lines, and waits for all that came before; durable when it resolves. Rejects with `state-unavailable`, or `closed`. */
  append(lines: readonly string[]): Promise<void> {
    this.#waiting.push(...lines);
    this.#next ??= this.#writing
      .catch(() => undefined)
      .then(() => {
        this.#writing = this.#next ?? Promise.resolve();
        this.#next = undefined;
        return this.#flush();
      });
    return this.#next;
  }

  /** Waits for what is on its way to the disk and closes the file. */
  async close(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#next?.catch(() => undefined);
    this.#failure ??= new StarlingError("closed", "the issuer has been closed");
    await this.#file?.close();
    this.#file = undefined;
  }

  async #flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const lines = this.#waiting;
    this.#waiting = [];
    if (lines.length === 0) return;
    this.#appended += lines.length;
    try {
      if (this.#outgrown || this.#appended > Math.max(MIN_APPENDED, this.#base)) {
        await this.#rewrite();
        return;
      }
      await this.#file?.appendFile(lines.map((line) => `${line}\n`).join(""));
      await this.#file?.datasync();
    } catch (cause) {
      const message = `cannot write ${this.#path} (${errorCode(cause)}); make room or mend the disk, then start the issuer again`;
      this.#failure = new StarlingError("state-unavailable", message, { cause });
      throw this.#failure;
    }
  }

  async #rewrite(): Promise<void> {
    const lines = Array.from(this.#all(), (line) => `${line}\n`);
    this.#outgrown = false;
    this.#base = lines.length;
    this.#appended = 0;
    await this.#file?.close();
    await writePrivate(this.#path, lines.join(""));
    this.#file = await open(this.#path, "a", 0o600);
  }
}
