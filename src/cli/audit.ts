import { join } from "node:path";
import type { Command } from "commander";
import { AUDIT_COPIES_FOLDER } from "../agent/audit-keeper.ts";
import { nodeCrypto } from "../drivers/crypto.ts";
import { verifyAuditLog } from "../drivers/state/audit-log.ts";
import { readSigningKeyFile } from "../drivers/state/key-file.ts";
import { AUDIT_FOLDER, NODE_KEY_FILE } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import { type PeerId, parsePeerId, peerIdOf } from "../proto/peer-id.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { print, printJson } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";
import { SIGNAL_AUDIT_FOLDER, SIGNAL_KEY_FILE } from "./signal.ts";

interface VerifyOptions {
  readonly signal?: boolean;
  readonly signer?: string;
  readonly copy?: boolean;
  readonly json?: boolean;
}

/** `starling audit verify`: whether the audit log is whole. */
export function auditCommand(program: Command): void {
  const audit = program.command("audit").description("check the audit log");
  addStateFlag(
    audit
      .command("verify [folder]")
      .description("find removed, changed and reordered lines of the audit log (default: that of the state directory)"),
  )
    .option("--signal", "the log of the signaling server of that state directory, not of the agent")
    .option("--copy", "the copy that the agent of that state directory keeps of the log of --signer")
    .option("--signer <peer>", "whose log it must be (default: the key of the state directory)")
    .option("--json", "print JSON")
    .action(async (folder: string | undefined, options: VerifyOptions, command: Command) => {
      const state = resolveStateDirectory(flagsOf(command).state);
      const crypto = nodeCrypto();
      const [keyFile, home] = options.signal ? [SIGNAL_KEY_FILE, SIGNAL_AUDIT_FOLDER] : [NODE_KEY_FILE, AUDIT_FOLDER];
      const signer = options.signer === undefined ? await idIn(join(state, keyFile)) : parsePeerId(options.signer);
      if (signer === undefined) throw new StarlingError("usage", `${options.signer} is not a peer id`);
      if (options.copy && options.signer === undefined)
        throw new StarlingError("usage", "say whose log it is a copy of: --signer PEER");
      const isCopy = options.copy === true;
      const place = isCopy ? join(AUDIT_COPIES_FOLDER, signer) : home;
      const report = await verifyAuditLog(folder ?? join(state, place), signer, crypto, { isCopy });
      if (options.json) printJson(report);
      else {
        for (const { file, line, fault } of report.faults) print(`${file}:${line}: ${fault}`);
        print(`${report.lines} lines (${report.first} to ${report.last}), signed by ${signer}`);
      }
      if (!report.ok)
        throw new StarlingError(
          "state-corrupt",
          "the audit log is not whole: compare it with a copy, and look who could write to its folder",
        );
    });
}

async function idIn(keyFile: string): Promise<PeerId> {
  const key = await readSigningKeyFile(keyFile, nodeCrypto());
  if (key === undefined)
    throw new StarlingError("not-found", `there is no ${keyFile}; name the log's owner with --signer`);
  return peerIdOf(key.publicKey);
}
