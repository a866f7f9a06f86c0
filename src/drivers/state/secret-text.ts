/**
 * Files with keys, as text: what is sealed is opened with the passphrase of this process, and while it has one, what is written is sealed.
 *
 * The passphrase is the process's own, as its environment is: from the file that `STARLING_PASSPHRASE_FILE` names (`-` for stdin), else asked for at the
 * terminal, once, when the first sealed file is read. So everything that reads a key takes it, a library in an application too.
 */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { StarlingError } from "../../errors.ts";
import { corrupt, createPrivate, readPrivateText, writePrivate } from "./private-files.ts";
import { isSealed, Sealer } from "./sealed-text.ts";
import { readStdin } from "./stdin.ts";

/** A passphrase, characters: fewer are guessed whatever scrypt costs. */
const LEAST_PASSPHRASE_LENGTH = 8;
const MOST_PASSPHRASE_LENGTH = 1_024;
/** What a sealed file has more than its text, bytes, beside a third for base64. */
const SEAL_BYTES = 512;

/** Where the passphrase of this process comes from. */
const FILE_VARIABLE = "STARLING_PASSPHRASE_FILE";

let sealer: Promise<Sealer> | undefined;

/** The text of a private file, opened if it is sealed; undefined when there is none. Throws `passphrase-wrong` and as `readPrivateText`. */
export async function readSecretText(path: string, maxBytes: number): Promise<string | undefined> {
  const text = await readPrivateText(path, sealedSize(maxBytes));
  if (text === undefined || !isSealed(text)) return text;
  return openWith(await sealerOf(path), path, text);
}

/** Puts `text` in place of whatever is at `path`, durably, sealed while the process has a passphrase. */
export async function writeSecretText(path: string, text: string): Promise<void> {
  await writePrivate(path, await written(text));
}

/** Creates `path` likewise. Throws `already-exists` when something is there. */
export async function createSecretText(path: string, text: string): Promise<void> {
  await createPrivate(path, await written(text));
}

/**
 * Seals the file at `path` under `to`, or leaves it open where that is undefined; what it was sealed under before is the
 * passphrase of this process, or already `to`, so that a change that was cut short is done again. False when there is no file.
 */
export async function resealSecretText(path: string, to: Sealer | undefined): Promise<boolean> {
  const text = await readPrivateText(path, sealedSize(MAX_RESEALED_BYTES));
  if (text === undefined) return false;
  const plain = isSealed(text) ? await openEither(path, text, to) : text;
  await writePrivate(path, to === undefined ? `${plain}\n` : await to.seal(`${plain}\n`));
  return true;
}

/** The passphrase in a file, or on stdin where that is `-`: its first line. Throws `usage` for one that is too short. */
export async function readPassphraseFile(path: string): Promise<string> {
  const isStdin = path === "-";
  const text = isStdin ? (await readStdin()).toString("utf8") : await readPrivateText(path, 4 * MOST_PASSPHRASE_LENGTH);
  if (text === undefined) throw new StarlingError("usage", `there is no file ${path} with a passphrase`);
  return checkedPassphrase(text.split(/\r?\n/)[0] ?? "");
}

/** Asks at the terminal without showing what is typed. Throws `passphrase-wrong` where there is no terminal. */
export async function askPassphrase(question: string): Promise<string> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    const message = `a passphrase is needed: name a file with it (mode 0600) in ${FILE_VARIABLE}, or run this at a terminal`;
    throw new StarlingError("passphrase-wrong", message);
  }
  process.stderr.write(`${question}: `);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return checkedPassphrase(await new Promise<string>((resolve) => terminal.question("", resolve)));
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}

const MAX_RESEALED_BYTES = 131_072;

const sealedSize = (bytes: number): number => Math.ceil((bytes * 4) / 3) + SEAL_BYTES;

async function written(text: string): Promise<string> {
  if (sealer === undefined && !process.env[FILE_VARIABLE]) return text;
  return (await sealerOf("")).seal(text);
}

function sealerOf(path: string): Promise<Sealer> {
  sealer ??= passphraseFor(path).then((passphrase) => new Sealer(passphrase));
  // Asked again after a failure: a typing error is not for ever.
  sealer.catch(() => {
    sealer = undefined;
  });
  return sealer;
}

function passphraseFor(path: string): Promise<string> {
  const file = process.env[FILE_VARIABLE];
  return file ? readPassphraseFile(file) : askPassphrase(`Passphrase for ${path}`);
}

async function openWith(with_: Sealer, path: string, text: string): Promise<string> {
  const opened = await with_.open(text);
  if (opened === "damaged") throw corrupt(path, "its seal has no valid form");
  if (opened !== "locked") return opened.text.trim();
  sealer = undefined;
  const message = `the passphrase does not open ${path}; give the right one, or restore the file if it was altered`;
  throw new StarlingError("passphrase-wrong", message);
}

async function openEither(path: string, text: string, to: Sealer | undefined): Promise<string> {
  const opened = await to?.open(text);
  if (typeof opened === "object") return opened.text.trim();
  return openWith(await sealerOf(path), path, text);
}

function checkedPassphrase(passphrase: string): string {
  if (passphrase.length >= LEAST_PASSPHRASE_LENGTH && passphrase.length <= MOST_PASSPHRASE_LENGTH) return passphrase;
  const message = `a passphrase has ${LEAST_PASSPHRASE_LENGTH} to ${MOST_PASSPHRASE_LENGTH} characters`;
  throw new StarlingError("usage", message);
}
