import type { Command } from "commander";
import type { KeysOfMember } from "../agent/key-census.ts";
import { StarlingError } from "../errors.ts";
import { addStateFlag, ask } from "./flags.ts";
import { parseDuration, print, printJson, say, table } from "./output.ts";
import { addSigningFlags, type SigningKeyOptions, signingKeyFile } from "./signing-key.ts";
import { readStdin } from "./stdin.ts";

interface ChangeOptions extends SigningKeyOptions {
  readonly json?: boolean;
  readonly wait: string;
}

/** `starling keys list | install | use | remove | rotate`: the secrets that all members share. */
export function keysCommand(program: Command): void {
  const keys = program.command("keys").description("show and change the keys that all members share");

  addStateFlag(keys.command("list").description("which keys are in use, and by how many members"))
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const members = (await ask(command, "keys.list")) as KeysOfMember[];
      if (options.json) printJson(summary(members));
      else show(members);
    });

  changeCommand(
    keys
      .command("install [key]")
      .description("add a gossip key (base64, - for stdin; default: a random one) everywhere"),
    async (argument) => {
      if (argument === undefined) return { what: "install" };
      const key = argument === "-" ? (await readStdin()).toString("utf8").trim() : argument;
      return { what: "install", key };
    },
  );
  changeCommand(
    keys.command("use <name>").description("seal broadcasts under the gossip key of this name"),
    async (name) => ({
      what: "use",
      name,
    }),
  );
  changeCommand(
    keys.command("remove <name>").description("drop the gossip key of this name everywhere"),
    async (name) => ({
      what: "remove",
      name,
    }),
  );
  changeCommand(
    keys
      .command("rotate")
      .description("make new keys, hand them to all members, and see the old ones go")
      .requiredOption("--what <kind>", "cluster or gossip")
      .option(
        "--grace <duration>",
        "how long members that are away may come back by the old cluster key (default: 7d)",
      ),
    async (_argument, { what, grace }) => {
      if (what !== "cluster" && what !== "gossip") {
        throw new StarlingError("usage", `--what ${what}: write cluster or gossip`);
      }
      return { what, ...(grace !== undefined && { graceMs: parseDuration(grace) }) };
    },
  );
}

interface RotateOptions {
  readonly what?: string;
  readonly grace?: string;
}

function changeCommand(
  command: Command,
  changeOf: (argument: string | undefined, options: RotateOptions) => Promise<Readonly<Record<string, unknown>>>,
): void {
  addSigningFlags(command)
    .option("--wait <duration>", "how long to wait until all members that are up have it", "30s")
    .option("--json", "print JSON")
    .action(async (...given: unknown[]) => {
      const self = given.at(-1) as Command;
      const options = given.at(-2) as ChangeOptions & RotateOptions;
      const argument = given.length > 2 && typeof given[0] === "string" ? given[0] : undefined;
      const keyFile = await signingKeyFile(self, options);
      const change = await changeOf(argument, options);
      const { epoch } = (await ask(self, "keys.change", { change, ...(keyFile && { keyFile }) })) as { epoch: number };
      const members = await spread(self, epoch, parseDuration(options.wait));
      if (options.json) printJson(summary(members));
      else show(members);
    });
}

/** Waits until every member that answers has the secrets of this epoch, and shows how it goes. */
async function spread(command: Command, epoch: number, limitMs: number): Promise<KeysOfMember[]> {
  const end = Date.now() + limitMs;
  for (let shown = -1; ; ) {
    const members = (await ask(command, "keys.list")) as KeysOfMember[];
    const have = members.filter((member) => member.epoch >= epoch).length;
    if (have !== shown) say(`epoch ${epoch}: ${have} of ${members.length} members`);
    shown = have;
    if (have === members.length) return members;
    if (Date.now() > end) {
      throw new StarlingError(
        "timeout",
        `only ${have} of ${members.length} members have epoch ${epoch}; it goes on by itself`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function summary(members: readonly KeysOfMember[]) {
  const count = (of: (member: KeysOfMember) => readonly (string | number)[]) => {
    const counts = new Map<string | number, number>();
    for (const member of members) for (const key of of(member)) counts.set(key, (counts.get(key) ?? 0) + 1);
    return [...counts].map(([key, holders]) => ({ key, holders }));
  };
  const inUse = (of: (member: KeysOfMember) => string | number | undefined, key: string | number): number =>
    members.filter((member) => of(member) === key).length;
  return {
    members: members.length,
    epochs: count(({ epoch }) => [epoch]).map(({ key, holders }) => ({ epoch: key, holders })),
    cluster: count(({ clusterEpochs }) => clusterEpochs).map(({ key, holders }) => ({
      epoch: key,
      holders,
      inUse: inUse(({ clusterEpochs }) => clusterEpochs[0], key),
    })),
    gossip: count(({ gossip }) => gossip).map(({ key, holders }) => ({
      name: key,
      holders,
      inUse: inUse(({ gossip }) => gossip[0], key),
    })),
  };
}

function show(members: readonly KeysOfMember[]): void {
  const { cluster, gossip } = summary(members);
  const row = (kind: string, name: string | number, holders: number, inUse: number): string[] => [
    kind,
    String(name),
    `${holders}/${members.length}`,
    `${inUse}/${members.length}`,
  ];
  print(
    table(
      ["kind", "key", "held by", "in use by"],
      [
        ...cluster.map(({ epoch, holders, inUse }) => row("cluster", `epoch ${epoch}`, holders, inUse)),
        ...gossip.map(({ name, holders, inUse }) => row("gossip", name, holders, inUse)),
      ],
    ),
  );
}
