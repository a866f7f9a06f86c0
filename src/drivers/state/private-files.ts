/**
 * Files that only their owner may read, written so that a crash at any moment leaves the old content or the new, whole.
 *
 * Writing goes through a temporary file in the same folder: write, fsync, rename, fsync the folder. Reading refuses files
 * that others may read (not on Windows, whose permissions Node does not show), that are not plain files, or too long.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { StarlingError } from "../../errors.ts";

const TEMPORARY = /\.[0-9a-f]{12}\.tmp$/;
/** A temporary file this old was left by a crash, ms. */
const ABANDONED_AFTER_MS = 3_600_000;

/** Makes a folder that only its owner may enter, if it is not there. */
export async function ensurePrivateFolder(path: string): Promise<void> {
  await attempt("create", path, () => mkdir(path, { recursive: true, mode: 0o700 }));
}

/**
 * The content of a private file; undefined when there is none. Throws `key-file-permissions` when others may read it,
 * `state-corrupt` when it is longer than `maxBytes`, `state-unavailable` when it cannot be read.
 */
export async function readPrivate(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const handle = await attempt("read", path, () => openExisting(path));
  if (handle === undefined) return undefined;
  try {
    const { mode, size } = await checkedStat(handle, path);
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      const message = `${path} can be read by other users; run \`chmod 600 ${path}\`, and replace the key if others use this machine`;
      throw new StarlingError("key-file-permissions", message);
    }
    if (size > maxBytes) throw corrupt(path, `it has ${size} bytes, more than the ${maxBytes} it may have`);
    return new Uint8Array(await attempt("read", path, () => handle.readFile()));
  } finally {
    await handle.close();
  }
}

/** Like {@link readPrivate}, as text with white space cut off at both ends. */
export async function readPrivateText(path: string, maxBytes: number): Promise<string | undefined> {
  const bytes = await readPrivate(path, maxBytes);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8").trim();
}

/** Puts `content` in place of whatever is at `path`, durably. */
export async function writePrivate(path: string, content: string | Uint8Array): Promise<void> {
  await attempt("write", path, async () => {
    const temporary = await writeTemporary(path, content);
    try {
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncFolder(dirname(path));
  });
}

/** Creates `path` with `content`, durably. Throws `already-exists`, and changes nothing, when something is there. */
export async function createPrivate(path: string, content: string | Uint8Array): Promise<void> {
  await attempt("create", path, async () => {
    const temporary = await writeTemporary(path, content);
    try {
      await link(temporary, path);
    } finally {
      await rm(temporary, { force: true });
    }
    await syncFolder(dirname(path));
  });
}

/** Whether something is at `path`. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Removes temporary files that a crash left in `folder`. */
export async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await attempt("read", folder, () => readdir(folder))) {
    if (!TEMPORARY.test(name)) continue;
    const path = join(folder, name);
    const age = Date.now() - (await stat(path).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs;
    if (age > ABANDONED_AFTER_MS) await rm(path, { force: true });
  }
}

/** The error for a damaged file: `detail` says how, in words that follow a colon. */
export function corrupt(path: string, detail: string): StarlingError {
  const message = `${path} is damaged: ${detail}; restore it from a backup, or move it away to begin anew`;
  return new StarlingError("state-corrupt", message);
}

/** Makes what was done to the names in `folder` durable. */
async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder, and needs no such call.
  if (process.platform === "win32") return;
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Runs a file operation; what the system refuses becomes `already-exists` or `state-unavailable` with a hint. */
export async function attempt<T>(verb: string, path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    if (cause instanceof StarlingError) throw cause;
    const code = errorCode(cause);
    if (code === "EEXIST") {
      throw new StarlingError("already-exists", `${path} exists already and is not overwritten; move it away first`);
    }
    const message = `cannot ${verb} ${path} (${code ?? "unknown error"}); ${hint(code)}`;
    throw new StarlingError("state-unavailable", message, { cause });
  }
}

/** The system's code of a failed operation, such as `ENOENT`; undefined for other errors. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function hint(code: string | undefined): string {
  switch (code) {
    case "EACCES":
    case "EPERM":
      return "make the folder and its files yours, or choose another with --state";
    case "ENOSPC":
    case "EDQUOT":
      return "the disk is full: make room";
    case "EROFS":
      return "the disk is read-only: choose another folder with --state";
    case "ENOTDIR":
      return "a part of the path is not a folder: choose another with --state";
    default:
      return "check the folder and its disk";
  }
}

async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function checkedStat(handle: FileHandle, path: string): Promise<{ mode: number; size: number }> {
  const status = await attempt("read", path, () => handle.stat());
  if (!status.isFile()) throw corrupt(path, "it is not a plain file");
  return status;
}

async function writeTemporary(path: string, content: string | Uint8Array): Promise<string> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  const handle = await open(temporary, "wx", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}
