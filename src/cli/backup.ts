import { resolve } from "node:path";
import type { Command } from "commander";
import { restoreBackup } from "../agent/backup.ts";
import { StarlingError } from "../errors.ts";
import { addSettingFlags, addStateFlag, ask, flagsOf } from "./flags.ts";
import { printJson, say } from "./output.ts";
import { readSecret } from "./secret.ts";
import { resolveSettings } from "./settings.ts";

interface BackupFlags {
  readonly passphraseFile?: string;
  readonly json?: boolean;
}

/** `starling backup FILE`: everything that the running agent holds, in one sealed file; and `starling restore FILE`. */
export function backupCommand(program: Command): void {
  const sealed = (command: Command): Command =>
    command
      .option(
        "--passphrase-file <file>",
        "the passphrase that seals the file; - for stdin (default: $STARLING_BACKUP_PASSPHRASE_FILE)",
      )
      .option("--json", "print JSON");

  sealed(
    addStateFlag(program.command("backup <file>").description("write all values to a compressed, sealed file")),
  ).action(async (file: string, _flags, command: Command) => {
    const { passphraseFile, json } = command.opts<BackupFlags>();
    const passphrase = await readPassphrase(passphraseFile);
    const result = (await ask(command, "backup", { file: resolve(file), passphrase })) as { readonly rows: number };
    if (json) printJson(result);
    else say(`${result.rows} rows are in ${file}`);
  });

  sealed(
    addSettingFlags(
      program.command("restore <file>").description("put a backup into an agent that does not run and holds no values"),
    ),
  )
    .addHelpText(
      "after",
      "\nThe agent must belong to the backup's cluster. In a cluster that went on meanwhile later writes win;\ndeletions that it has forgotten (after a day) come back.",
    )
    .action(async (file: string, _flags, command: Command) => {
      const { passphraseFile, json } = command.opts<BackupFlags>();
      const passphrase = await readPassphrase(passphraseFile);
      const { values, stateDirectory } = resolveSettings(flagsOf(command));
      if (values.store === "memory") throw new StarlingError("usage", "a store in memory cannot be restored into");
      const storePassphrase = await readSecret("STARLING_STORE_PASSPHRASE");
      const rows = await restoreBackup({ file, passphrase, stateDirectory, kind: values.store, storePassphrase });
      if (json) printJson({ rows });
      else say(`${rows} rows are restored; start the agent with \`starling up\``);
    });
}

async function readPassphrase(file: string | undefined): Promise<string> {
  const passphrase = await readSecret("STARLING_BACKUP_PASSPHRASE", file);
  if (passphrase !== undefined) return passphrase;
  const message =
    "a backup is sealed; name a file with a passphrase by --passphrase-file, or set STARLING_BACKUP_PASSPHRASE_FILE";
  throw new StarlingError("usage", message);
}
