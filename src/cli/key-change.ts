import type { Command } from "commander";
import type { KeysOfMember } from "../agent/key-census.ts";
import { StarlingError } from "../errors.ts";
import { ask } from "./flags.ts";
import { parseDuration, print, printJson, say, table } from "./output.ts";
import { type SigningKeyOptions, signingKeyFile } from "./signing-key.ts";

/** Flags of a command that changes secrets. */
export interface ChangeOptions extends SigningKeyOptions {
  readonly json?: boolean;
  readonly wait: string;
}

/** Has the running agent change the secrets of all members, and shows how that spreads, to the end. */
export async function changeKeys(
  command: Command,
  change: Readonly<Record<string, unknown>>,
  options: ChangeOptions,
): Promise<void> {
  const keyFile = await signingKeyFile(command, options);
  const { epoch } = (await ask(command, "keys.change", { change, ...(keyFile && { keyFile }) })) as { epoch: number };
  const members = await spread(command, epoch, parseDuration(options.wait));
  if (options.json) printJson(summary(members));
  else show(members);
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

/** Who holds and uses which keys: the JSON of `keys list`. */
export function summary(members: readonly KeysOfMember[]) {
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
    root: count(({ root }) => [root]).map(({ key, holders }) => ({ kid: key, holders })),
    issuing: count(({ issuedBy }) => (issuedBy === "" ? [] : [issuedBy])).map(({ key, holders }) => ({
      kid: key,
      tokens: holders,
    })),
  };
}

/** The same as a table. */
export function show(members: readonly KeysOfMember[]): void {
  const { cluster, gossip, root, issuing } = summary(members);
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
        ...root.map(({ kid, holders }) => row("root", kid, holders, holders)),
        ...issuing.map(({ kid, tokens }) => row("issuing", kid, tokens, tokens)),
      ],
    ),
  );
}
