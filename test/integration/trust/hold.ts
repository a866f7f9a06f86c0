/** Opens the state directory named on the command line, says how that went, and holds it until killed. */
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { openStateDirectory } from "../../../src/drivers/state-directory.ts";
import { StarlingError } from "../../../src/errors.ts";

try {
  const state = await openStateDirectory(process.argv[2] as string, nodeCrypto());
  process.stdout.write(`held ${state.bootCount}\n`);
  process.stdin.resume();
  process.stdin.on("end", () => void state.close().then(() => process.exit(0)));
} catch (error) {
  process.stdout.write(`${error instanceof StarlingError ? error.code : String(error)}\n`);
  process.exitCode = 1;
}
