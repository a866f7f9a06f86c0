import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import { startStunService } from "../../../stun/main.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import { exchangeSecret, LOOK_MS } from "../../../stun/secrets-file.ts";
import { Lab, until } from "../attack/lab.ts";
import { RawClient } from "../stun/raw-client.ts";
import { linksLost, meshed, SILENT, Writer } from "./cluster-of-ten.ts";

/**
 * Goal: the secret of the TURN server by which a whole cluster is linked is replaced, and nobody notices but who has a credential of long ago.
 * Method: ten agents that reach each other by the relay only, one of which is away; somebody writes without a pause; the secret is
 * exchanged, and ends; the one that was away comes back.
 */

/** The least that a server grants, ms: every link is made anew by another credential within the test. */
const CREDENTIAL_MS = 60_000;
const REALM = "starling";

test("a new TURN secret costs no write and no link of a cluster that lives by relays, and the old one is refused at its end", {
  timeout: 240_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "starling-turn-"));
  const secretFile = join(folder, "turn.secret");
  const old = "the old secret of this test only";
  await writeFile(secretFile, `${old}\n`, { mode: 0o600 });
  await using lab = await Lab.open();
  const { server: relay } = await startStunService({
    listen: ["127.0.0.1:0"],
    realm: REALM,
    secretFile,
    relayAddress: ["127.0.0.1"],
    allowPeer: ["127.0.0.0/8"],
  });
  await using _relay = relay;
  const at = relay.listening.find(({ transport }) => transport === "udp");
  if (at === undefined) throw new Error("it does not listen");
  const turn = { urls: [`turn:127.0.0.1:${at.port}`], secretFile, lifeMs: CREDENTIAL_MS };
  const listen = { host: "127.0.0.1", port: 0 };
  await using door = await startSignalingService({ cluster: lab.cluster, listen, turn, log: SILENT });
  const options = {
    signaling: [`ws://127.0.0.1:${door.port}`],
    loopback: false,
    skipInterfaces: Object.keys(networkInterfaces()),
    iceServers: [],
  };
  const agents = await Promise.all(Array.from({ length: 9 }, async () => lab.agent(await lab.node(), { options })));
  const awayNode = await lab.node();
  const away = await lab.agent(awayNode, { options });
  await meshed([...agents, away]);
  // They offer no address but a relayed one, whatever the stack calls the path between two of them.
  expect(relay.allocations).toBeGreaterThanOrEqual(9);
  await away.leave();

  const lost = linksLost(agents, away.id);
  const writer = new Writer(agents);
  const credential = issueCredential(old, "of-long-ago", 600_000, Date.now());
  await exchangeSecret(secretFile, "the new secret of this test only", CREDENTIAL_MS + 2 * LOOK_MS, () =>
    pause(2 * LOOK_MS),
  );
  const back = await lab.agent(awayNode, { options });
  await meshed([...agents, back]);
  await until(
    "the old secret to be refused",
    async () => !(await isTaken(at, credential)),
    CREDENTIAL_MS + 6 * LOOK_MS,
  );
  await pause(LOOK_MS);
  await meshed([...agents, back]);
  expect(relay.allocations).toBeGreaterThanOrEqual(9);
  const { writes, failed } = await writer.stop();
  console.log(`${writes} writes, ${failed} failed; ${lost().length} links lost`);
  expect(failed).toBe(0);
  expect(lost()).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

async function isTaken(
  at: { readonly address: string; readonly port: number },
  { username, password }: { readonly username: string; readonly password: string },
): Promise<boolean> {
  const client = await RawClient.open(at, { username, password, realm: REALM });
  const taken = await client.allocate().then(
    () => true,
    (error: Error) => !error.message.endsWith("401"),
  );
  client.close();
  await pause(500);
  return taken;
}
