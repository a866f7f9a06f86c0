import { join, resolve } from "node:path";
import type { Command } from "commander";
import { CLUSTER_KEY_FILE, KEYRING_FILE } from "../drivers/state/cluster-files.ts";
import { ISSUING_KEY_FILE, PLACE_KEY_FILE, ROOT_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { FORMER_KEYS_FILE } from "../drivers/state/former-keys.ts";
import { acquireLock, LOCK_FILE } from "../drivers/state/lock.ts";
import { exists } from "../drivers/state/private-files.ts";
import { REFRESH_KEYS_FILE } from "../drivers/state/refresh-keys.ts";
import { Sealer } from "../drivers/state/sealed-text.ts";
import { askPassphrase, readPassphraseFile, resealSecretText } from "../drivers/state/secret-text.ts";
import { SUCCESSOR_FILE } from "../drivers/state/successor.ts";
import { TICKET_KEYS_FILE } from "../drivers/state/ticket-key-file.ts";
import { NODE_KEY_FILE } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { printJson, say } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";

/** The files of a state directory that hold keys, in the order in which they are sealed. */
const KEY_FILES = [
  NODE_KEY_FILE,
  SUCCESSOR_FILE,
  FORMER_KEYS_FILE,
  REFRESH_KEYS_FILE,
  ROOT_KEY_FILE,
  ISSUING_KEY_FILE,
  PLACE_KEY_FILE,
  CLUSTER_KEY_FILE,
  KEYRING_FILE,
  TICKET_KEYS_FILE,
];

/** `starling passphrase set | remove`: whether keys lie sealed on the disk, and under what. */
export function passphraseCommand(program: Command): void {
  const passphrase = program
    .command("passphrase")
    .description("seal the keys of --state under a passphrase, change it, or take it away");
  addStateFlag(
    passphrase
      .command("set")
      .description(
        "seal the keys under a new passphrase; the old one is taken from STARLING_PASSPHRASE_FILE, or asked for",
      )
      .argument("[files...]", "other key files, such as a root key that is kept elsewhere"),
  )
    .option("--new-file <file>", "the new passphrase, in a file of mode 0600 (default: asked for at the terminal)")
    .option("--json", "print JSON")
    .action(async (files: string[], options: PassphraseFlags, command: Command) => {
      await reseal(files, options, command, new Sealer(await newPassphrase(options.newFile)));
    });
  addStateFlag(
    passphrase
      .command("remove")
      .description("leave the keys unsealed: whoever reads the disk has them")
      .argument("[files...]", "other key files"),
  )
    .option("--json", "print JSON")
    .action(async (files: string[], options: PassphraseFlags, command: Command) => {
      await reseal(files, options, command, undefined);
    });
}

interface PassphraseFlags {
  readonly newFile?: string;
  readonly json?: boolean;
}

async function newPassphrase(file: string | undefined): Promise<string> {
  if (file !== undefined) return readPassphraseFile(file === "-" ? file : resolve(file));
  const first = await askPassphrase("New passphrase");
  if ((await askPassphrase("The same once more")) === first) return first;
  throw new StarlingError("usage", "the two passphrases differ; nothing was changed");
}

/** File by file, each at once and whole: what was done when it is cut short is left as it is by the next attempt. */
async function reseal(
  files: readonly string[],
  { json }: PassphraseFlags,
  command: Command,
  to: Sealer | undefined,
): Promise<void> {
  const folder = resolveStateDirectory(flagsOf(command).state);
  if (!(await exists(folder))) throw new StarlingError("not-found", `there is no state directory ${folder}`);
  for (const file of files) if (!(await exists(file))) throw new StarlingError("not-found", `there is no file ${file}`);
  const lock = await acquireLock(join(folder, LOCK_FILE));
  const done: string[] = [];
  try {
    for (const path of [...KEY_FILES.map((name) => join(folder, name)), ...files.map((file) => resolve(file))])
      if (await resealSecretText(path, to)) done.push(path);
  } finally {
    await lock.release();
  }
  if (json) printJson({ sealed: to !== undefined, files: done });
  else if (done.length === 0) say(`there are no keys in ${folder}`);
  else say(`${done.length} files are ${to === undefined ? "not sealed any more" : "sealed"}: ${done.join(", ")}`);
}
