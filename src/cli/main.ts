/** The command `starling`: one file per command, put together here. */
import { Command, CommanderError } from "commander";
import { version } from "../version.ts";
import { apiKeyCommand } from "./api-key.ts";
import { auditCommand } from "./audit.ts";
import { backupCommand } from "./backup.ts";
import { bucketCommand } from "./bucket.ts";
import { configCommand } from "./config.ts";
import { demoCommand } from "./demo.ts";
import { downCommand } from "./down.ts";
import { initCommand } from "./init.ts";
import { inviteCommand } from "./invite.ts";
import { keygenCommand } from "./keygen.ts";
import { keysCommand } from "./keys.ts";
import { kvCommand } from "./kv.ts";
import { netcheckCommand } from "./netcheck.ts";
import { fail } from "./output.ts";
import { passphraseCommand } from "./passphrase.ts";
import { pingCommand } from "./ping.ts";
import { signalCommand } from "./signal.ts";
import { membersCommand, statusCommand } from "./status.ts";
import { stunCommand } from "./stun.ts";
import { tokenCommand } from "./token.ts";
import { publishCommand, subscribeCommand } from "./topics.ts";
import { upCommand } from "./up.ts";
import { whyCommand } from "./why.ts";

// The launcher's end of the channel closes when the launcher dies, even by SIGKILL: then so does this process.
if (process.env["STARLING_LAUNCHER"] && process.channel) {
  process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel.unref();
}

const program = new Command("starling")
  .description("A peer-to-peer mesh agent: machines behind NAT join one encrypted cluster over WebRTC.")
  .version(version)
  .showHelpAfterError("(starling --help lists the commands)")
  .exitOverride();

for (const register of [
  initCommand,
  inviteCommand,
  upCommand,
  downCommand,
  statusCommand,
  membersCommand,
  pingCommand,
  netcheckCommand,
  whyCommand,
  kvCommand,
  bucketCommand,
  backupCommand,
  publishCommand,
  subscribeCommand,
  tokenCommand,
  keygenCommand,
  keysCommand,
  passphraseCommand,
  signalCommand,
  stunCommand,
  apiKeyCommand,
  auditCommand,
  configCommand,
  demoCommand,
]) {
  register(program);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its message; help and version end with 0, everything else is a mistake of usage.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else fail(error);
}
