import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { exchangeSecret, LOOK_MS } from "../../stun/secrets-file.ts";
import { ISSUING_KEY_FILE, ROOT_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { exists } from "../drivers/state/private-files.ts";
import { StarlingError } from "../errors.ts";
import type { AgentStatus } from "../status.ts";
import { ask, flagsOf } from "./flags.ts";
import { type ChangeOptions, changeKeys } from "./key-change.ts";
import { parseDuration, printJson, say } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";
import { addSigningFlags } from "./signing-key.ts";

interface RotateOptions extends ChangeOptions {
  readonly what: string;
  readonly grace?: string;
  readonly secretFile?: string;
}

/** What a rotation comes to: data for `--json`, a sentence for people. */
interface Rotated {
  readonly data: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** Servers that share a file of TURN secrets look at it this often; two rounds, and the slowest has read it. */
const SECRET_SPREAD_MS = 2 * LOOK_MS;
const NODE_LOOK_MS = 250;
/** How long credentials by a former TURN secret count unless told otherwise: the default life of `stun credential`. */
const SECRET_GRACE = "24h";

const KINDS: Readonly<Record<string, (command: Command, options: RotateOptions) => Promise<Rotated | undefined>>> = {
  cluster: shared,
  gossip: shared,
  issuing,
  root,
  node,
  rest,
  turn,
};

/** `starling keys rotate --what KIND`: a new key in the place of another, to the end, with no write and no link lost on the way. */
export function rotateCommand(keys: Command): void {
  addSigningFlags(
    keys
      .command("rotate")
      .description("put a new key in the place of another, hand it to whom it concerns, see the old one go"),
  )
    .requiredOption("--what <kind>", Object.keys(KINDS).join(", "))
    .option(
      "--grace <duration>",
      "how long the old one counts: cluster 7d, issuing 8d (0s: until nobody needs it), turn 24h (in a relaying agent 1h)",
    )
    .option(
      "--secret-file <file>",
      "with --what turn: the secret that TURN and signaling servers share (default: the agent's own relay)",
    )
    .option("--wait <duration>", "how long each step waits for the members that are up", "60s")
    .option("--json", "print JSON")
    .action(async (options: RotateOptions, command: Command) => {
      const rotate = KINDS[options.what];
      if (rotate === undefined) {
        throw new StarlingError("usage", `--what ${options.what}: write one of ${Object.keys(KINDS).join(", ")}`);
      }
      const rotated = await rotate(command, options);
      if (rotated === undefined) return;
      if (options.json) printJson({ what: options.what, ...rotated.data });
      say(rotated.text);
    });
}

/** What all members share: they are asked for it, and shown. */
async function shared(command: Command, options: RotateOptions): Promise<undefined> {
  const { what, grace } = options;
  await changeKeys(command, { what, ...(grace !== undefined && { graceMs: parseDuration(grace) }) }, options);
}

async function root(command: Command, options: RotateOptions): Promise<Rotated> {
  const rootKeyFile = await keyFile(command, options.rootKey, ROOT_KEY_FILE, "--root-key");
  const data = await askRotation(command, { what: "root", rootKeyFile, waitMs: parseDuration(options.wait) });
  const text = `${String(data["kid"])} is the root; its key is in ${rootKeyFile}: move it to a place without a network. Invites from before lead to the new root as long as the issuing keys are the same; destroy ${rootKeyFile}.former`;
  return { data, text };
}

async function issuing(command: Command, options: RotateOptions): Promise<Rotated> {
  const rootKeyFile = await keyFile(command, options.rootKey, ROOT_KEY_FILE, "--root-key");
  const issuingKeyFile = await keyFile(command, options.issuingKey, ISSUING_KEY_FILE, "--issuing-key");
  const overlap = options.grace === undefined ? {} : { overlapMs: parseDuration(options.grace) };
  const files = { rootKeyFile, keyFile: issuingKeyFile };
  const data = await askRotation(command, {
    what: "issuing",
    ...files,
    ...overlap,
    waitMs: parseDuration(options.wait),
  });
  const end = data["endsAt"];
  const text =
    typeof end === "string"
      ? `tokens are by ${String(data["kid"])}; ${String(data["former"])} counts until ${end}, and this agent ends it then`
      : `tokens are by ${String(data["kid"])}; ${String(data["former"])} counts no more`;
  return { data, text };
}

/** The agent starts anew under its heir; the command waits for it. */
async function node(command: Command, options: RotateOptions): Promise<Rotated> {
  const data = await askRotation(command, { what: "node" });
  const { id, former } = data as { id: string; former: string };
  say(`${id} has a token; the agent leaves as ${former}, and starts again as its heir`);
  const end = performance.now() + parseDuration(options.wait);
  const isBack = async (): Promise<boolean> => {
    const status = (await ask(command, "status").catch(() => undefined)) as AgentStatus | undefined;
    return status?.self.id === id && status.self.state === "joined";
  };
  while (!(await isBack())) {
    if (performance.now() > end) {
      throw new StarlingError("timeout", "the agent has not come back yet; look at its log, and at `starling status`");
    }
    await delay(NODE_LOOK_MS);
  }
  return { data, text: `this agent is ${id}; ${former} is revoked` };
}

async function rest(command: Command): Promise<Rotated> {
  const data = await askRotation(command, { what: "rest" });
  return { data, text: `${String(data["rows"])} rows are sealed with the new key; the old one is gone` };
}

async function turn(command: Command, options: RotateOptions): Promise<Rotated> {
  const { secretFile, grace } = options;
  if (secretFile === undefined) {
    const data = await askRotation(command, {
      what: "turn",
      ...(grace !== undefined && { graceMs: parseDuration(grace) }),
    });
    return { data, text: "the agent's relay issues credentials by a new secret" };
  }
  const graceMs = parseDuration(grace ?? SECRET_GRACE);
  const file = resolve(secretFile);
  const waitMs = Math.max(
    SECRET_SPREAD_MS,
    command.getOptionValueSource("wait") === "cli" ? parseDuration(options.wait) : 0,
  );
  await exchangeSecret(file, randomBytes(32).toString("base64url"), graceMs, async () => {
    say(
      `the new secret is in ${file} behind the old one; in ${waitMs / 1_000} s all servers that share it know it (--wait)`,
    );
    await delay(waitMs);
  });
  const endsAt = new Date(Date.now() + graceMs).toISOString();
  return {
    data: { file, endsAt },
    text: `credentials are by the new secret; those by the old one count until ${endsAt}`,
  };
}

/** Has the running agent rotate a key, and tells how it goes. */
async function askRotation(
  command: Command,
  parameters: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  const onEvent = (event: unknown): void => say(String((event as { progress?: string }).progress));
  return (await ask(command, "keys.rotate", parameters, { onEvent })) as Readonly<Record<string, unknown>>;
}

async function keyFile(command: Command, named: string | undefined, name: string, flag: string): Promise<string> {
  const file = resolve(named ?? join(resolveStateDirectory(flagsOf(command).state), name));
  if (await exists(file)) return file;
  throw new StarlingError("not-found", `there is no key at ${file}; name its file with ${flag}`);
}
