/**
 * A lock on a folder, against a second process on this machine: held by a process that lives, void once it is gone, however
 * it went. No time-outs, no help from the dying process.
 *
 * A lock file names its owner: process id, the process's start time, the boot of the machine, and a random nonce. The owner
 * is gone if no such process lives, or a later one has its number. Taking over from an owner that is gone must happen once
 * even when several try: whoever would follow the owner with nonce N creates `lock.N`, which only one can, and which
 * names *its* owner in turn. The lock is held by the end of that chain:
 *
 *     lock (owner gone, nonce N)  ->  lock.N (owner gone, nonce M)  ->  lock.M (owner lives: the holder)
 *
 * A claimant walks the chain, claims its end, and walks it again: only if the walk still ends at its own claim does it hold
 * the lock. The holder then renames its claim to `lock`, which cuts the chain off for everybody who still walks it.
 *
 * It does not see processes of other containers or machines that share the folder. There the signaling server tells the
 * agents apart: the newer session of a node key ends the older one.
 */
import { randomBytes } from "node:crypto";
import { link, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { StarlingError } from "../../errors.ts";
import { attempt, errorCode } from "./private-files.ts";

/** Claims lost to others before giving up, and links of a chain that are followed. */
const MAX_ATTEMPTS = 16;
const MAX_CHAIN = 64;

/** What a claim's name has behind that of the lock. */
const CLAIM = /^(?:[0-9a-f]{32}|damaged)$/;

/** The lock of a state directory. */
export const LOCK_FILE = "lock";

/** A lock that this process holds. */
export interface Lock {
  /** Gives it up. Idempotent. */
  release(): Promise<void>;
}

interface Owner {
  readonly pid: number;
  /** When the process started, in the system's own units; empty where the system does not tell. */
  readonly started: string;
  /** Differs after a restart of the machine; empty where the system does not tell. */
  readonly boot: string;
  readonly nonce: string;
}

/** Where a chain ends: at a holder that lives, or at a name that is free. */
type End = { readonly type: "held"; readonly owner: Owner } | { readonly type: "free"; readonly path: string };

/** Takes the lock at `path`. Throws `state-locked`, naming the process, when a living one holds it. */
export async function acquireLock(path: string): Promise<Lock> {
  const self = await describeSelf();
  const draft = join(dirname(path), `.${basename(path)}.${self.nonce.slice(0, 12)}.tmp`);
  await attempt("lock", path, () => writeFile(draft, `${JSON.stringify(self)}\n`, { mode: 0o600, flag: "wx" }));
  try {
    for (let tries = 0; tries < MAX_ATTEMPTS; tries++) {
      const end = await walk(path);
      if (end.type === "held") throw locked(path, end.owner);
      if (!(await claim(draft, end.path))) continue;
      const confirmed = await walk(path);
      if (confirmed.type === "held" && confirmed.owner.nonce === self.nonce) {
        return await settle(path, end.path, self.nonce);
      }
      await rm(end.path, { force: true });
    }
  } finally {
    await rm(draft, { force: true });
  }
  throw new StarlingError("state-locked", `too many processes start on ${dirname(path)} at once; try again`);
}

async function walk(path: string): Promise<End> {
  let current = path;
  for (let length = 0; length < MAX_CHAIN; length++) {
    const owner = await readOwner(current);
    if (owner === undefined) return { type: "free", path: current };
    if (await isAlive(owner)) return { type: "held", owner };
    current = `${path}.${owner.nonce}`;
  }
  throw new StarlingError("state-locked", `${path} is in disorder; stop all agents on it and remove ${path}*`);
}

// False when somebody else was faster.
async function claim(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (cause) {
    if (errorCode(cause) === "EEXIST") return false;
    throw new StarlingError("state-unavailable", `cannot lock ${path} (${errorCode(cause)})`, { cause });
  }
}

async function settle(path: string, claimed: string, nonce: string): Promise<Lock> {
  if (claimed !== path) await attempt("lock", path, () => rename(claimed, path));
  // The rest of the chain leads nowhere any more.
  const prefix = `${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(prefix) && CLAIM.test(name.slice(prefix.length))) {
      await rm(join(dirname(path), name), { force: true });
    }
  }
  return {
    release: async () => {
      const owner = await readOwner(path);
      if (owner?.nonce === nonce) await rm(path, { force: true });
    },
  };
}

// A file without a readable owner (the disk lost it in a crash of the machine) is that of a process that is gone.
async function readOwner(path: string): Promise<Owner | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (errorCode(cause) === "ENOENT") return undefined;
    throw new StarlingError("state-unavailable", `cannot read ${path} (${errorCode(cause)})`, { cause });
  }
  const nobody = { pid: 0, started: "", boot: "", nonce: "damaged" };
  try {
    const { pid, started, boot, nonce } = JSON.parse(text) as Record<string, unknown>;
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1) return nobody;
    if (typeof started !== "string" || typeof boot !== "string") return nobody;
    if (typeof nonce !== "string" || !/^[0-9a-f]{32}$/.test(nonce)) return nobody;
    return { pid, started, boot, nonce };
  } catch {
    return nobody;
  }
}

async function describeSelf(): Promise<Owner> {
  const nonce = randomBytes(16).toString("hex");
  return { pid: process.pid, started: (await startOf(process.pid)) ?? "", boot: await bootId(), nonce };
}

async function isAlive(owner: Owner): Promise<boolean> {
  if (owner.pid === 0 || owner.boot !== (await bootId())) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: it lives and is somebody else's.
    if (errorCode(error) !== "EPERM") return false;
  }
  return owner.started === "" || owner.started === (await startOf(owner.pid));
}

// Field 22 of /proc/PID/stat; the name in field 2 may hold anything, so the count begins behind its last parenthesis.
// A process that has died and was not waited for (state Z or X) has no start any more.
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}

async function bootId(): Promise<string> {
  const text = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return text.trim();
}

function locked(path: string, owner: Owner): StarlingError {
  const message = `process ${owner.pid} uses ${dirname(path)}; stop it (\`starling down\`), or choose another folder with --state`;
  return new StarlingError("state-locked", message);
}
