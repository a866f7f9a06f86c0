import { spawnSync } from "node:child_process";
import { type Child, startChild, startProgram } from "./child.ts";
import type { Namespace } from "./namespace.ts";
import { OPEN_TCP_PORTS } from "./nat-types.ts";
import { SERVER_ADDRESSES } from "./network.ts";

/** The STUN and TURN servers that the lab can run, at the same place and with the same secret of time-limited credentials. */

export type TurnWord = "starling" | "coturn";

export const [TLS_PORT, STUN_PORT] = OPEN_TCP_PORTS;
export const SECRET = "a secret of the lab";
export const HAS_COTURN = spawnSync("turnserver", ["--help"]).error === undefined;

const [FIRST, SECOND] = SERVER_ADDRESSES;

/** Where all of it is found, by the words of signaling. */
export const ICE_URLS = [
  `stun:${FIRST}:${STUN_PORT}`,
  `turn:${FIRST}:${STUN_PORT}`,
  `turn:${FIRST}:${STUN_PORT}?transport=tcp`,
  `turns:${FIRST}:${TLS_PORT}?transport=tcp`,
];

/** Files of the server, by their paths. */
export interface TurnFiles {
  readonly secret: string;
  readonly cert: string;
  readonly key: string;
}

/** Starts a server; resolves when it listens. */
export async function startTurn(word: TurnWord, where: Namespace, files: TurnFiles): Promise<Child> {
  if (word === "coturn") return startCoturn(where, files);
  const child = startOurs(where, files);
  await child.line();
  return child;
}

function startOurs(where: Namespace, { secret, cert, key }: TurnFiles): Child {
  return startChild(where, "../../src/cli/starling.js", [
    ...["stun", "--json", "--realm=lab", `--secret-file=${secret}`, `--relay-address=${FIRST}`],
    ...[`--listen=${FIRST}:${STUN_PORT}`, `--alternate=${SECOND}:${STUN_PORT + 1}`],
    ...[`--tls-listen=${FIRST}:${TLS_PORT}`, `--tls-cert=${cert}`, `--tls-key=${key}`],
  ]);
}

async function startCoturn(where: Namespace, { cert, key }: TurnFiles): Promise<Child> {
  const child = startProgram(where, "turnserver", [
    ...[
      "-n",
      "--no-cli",
      "--fingerprint",
      "--use-auth-secret",
      "--realm=lab",
      "--log-file=stdout",
      "--pidfile=/dev/null",
    ],
    ...[`--static-auth-secret=${SECRET}`, `--listening-ip=${FIRST}`, `--relay-ip=${FIRST}`],
    ...[`--listening-port=${STUN_PORT}`, `--tls-listening-port=${TLS_PORT}`, `--cert=${cert}`, `--pkey=${key}`],
  ]);
  // It says nothing when it is ready.
  for (let tries = 0; tries < 100; tries++) {
    const client = startProgram(where, "turnutils_stunclient", ["-p", `${STUN_PORT}`, FIRST]);
    const patience = setTimeout(() => void client.stop(), 200);
    await client.ended;
    clearTimeout(patience);
    if (client.stdout.includes("reflexive")) return child;
  }
  throw new Error(`coturn does not answer:\n${child.stderr}${child.stdout}`);
}
