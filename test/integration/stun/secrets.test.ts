import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turnGrants } from "../../../signaling/grants.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { startStunService } from "../../../stun/main.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import { exchangeSecret, LOOK_MS, readSecrets, watchSecrets } from "../../../stun/secrets-file.ts";
import { until } from "../until.ts";
import { SECRET, USER } from "./lab.ts";
import { RawClient } from "./raw-client.ts";

const PEER = peerIdOf(new Uint8Array(32).fill(7));
const FRESH = "another secret of these tests only";
/** Longer than a server takes to see that the file has changed, so that nobody issues by a secret that another refuses, ms. */
const GRACE_MS = LOOK_MS + 1_000;

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "starling-secrets-"));
  file = join(folder, "turn.secret");
  await writeFile(file, `# ours\n${SECRET}\n`, { mode: 0o600 });
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe("a secret", () => {
  test("is exchanged under a running server: no credential is refused on the way, and one by the old secret is at its end", {
    timeout: 60_000,
  }, async () => {
    const { server } = await startStunService({
      listen: ["127.0.0.1:0"],
      realm: USER.realm,
      secretFile: file,
      relayAddress: ["127.0.0.1"],
    });
    await using _running = server;
    const at = server.listening.find(({ transport }) => transport === "udp");
    if (at === undefined) throw new Error("it does not listen");
    const grants = await turnGrants({ urls: ["turn:a.example"], secretFile: file, lifeMs: 600_000 });
    const tried = async (username: string, password: string): Promise<boolean> => {
      const client = await RawClient.open(at, { username, password, realm: USER.realm });
      // A port that has an allocation from before is another matter.
      const isTaken = await client.allocate().then(
        () => true,
        (error: Error) => !error.message.endsWith("401"),
      );
      client.close();
      return isTaken;
    };
    let [asked, refused, ended] = [0, 0, false];
    const asking = (async () => {
      while (!ended) {
        const [grant] = grants(PEER, Date.now());
        asked++;
        if (!(await tried(grant?.username ?? "", grant?.credential ?? ""))) refused++;
        await pause(200);
      }
    })();
    const old = issueCredential(SECRET, "old", 600_000, Date.now());
    await exchangeSecret(file, FRESH, GRACE_MS, () => pause(2 * LOOK_MS));
    expect(await readSecrets(file, Date.now())).toEqual([FRESH, SECRET]);
    expect(await tried(old.username, old.password)).toBe(true);
    await until("it to be refused", async () => !(await tried(old.username, old.password)), GRACE_MS + 4 * LOOK_MS);
    const [grant] = grants(PEER, Date.now());
    expect(grant?.credential).toBe(passwordOf(FRESH, grant?.username ?? ""));
    ended = true;
    await asking;
    grants.stop();
    expect(asked).toBeGreaterThan(20);
    expect(refused).toBe(0);
  });

  test("that has ended does not come back with an older copy of its line, and is left out when the file is written next", async () => {
    await writeFile(file, `${FRESH}\n${SECRET} until 2020-01-01T00:00:00Z\n`, { mode: 0o600 });
    expect(await readSecrets(file, Date.now())).toEqual([FRESH]);
    await exchangeSecret(file, "a third secret, of these tests", GRACE_MS, async () => undefined);
    expect(await readFile(file, "utf8")).not.toContain(SECRET);
  });

  test("whose exchange was cut off still counts, and does not stand in the way of the next", async () => {
    await expect(exchangeSecret(file, FRESH, 0, () => Promise.reject(new Error("cut off")))).rejects.toThrow("cut off");
    expect(await readSecrets(file, Date.now())).toEqual([SECRET, FRESH]);
    await exchangeSecret(file, "a third secret, of these tests", 0, async () => undefined);
    expect(await readSecrets(file, Date.now())).toEqual(["a third secret, of these tests"]);
  });

  test("is exchanged by one at a time, and four count at most", async () => {
    const gate = Promise.withResolvers<void>();
    const first = exchangeSecret(file, FRESH, 60_000, () => gate.promise);
    await until("the first step", async () => (await readSecrets(file, Date.now())).length === 2, 5_000);
    await expect(exchangeSecret(file, FRESH, 0, async () => undefined)).rejects.toMatchObject({ code: "state-locked" });
    gate.resolve();
    await first;
    for (const secret of ["a third secret, of these tests", "a fourth secret, of these tests"])
      await exchangeSecret(file, secret, 60_000, async () => undefined);
    await expect(exchangeSecret(file, "one too many, of these tests", 0, async () => undefined)).rejects.toMatchObject({
      code: "limit-reached",
    });
  });

  test("stays in use while its file cannot be read, which is told once", async () => {
    const [seen, troubles]: [string[][], string[]] = [[], []];
    const stop = watchSecrets(
      file,
      [SECRET],
      (secrets) => seen.push([...secrets]),
      (why) => troubles.push(why),
      20,
    );
    await writeFile(file, "short\n", { mode: 0o600 });
    await until("trouble", () => troubles.length > 0, 5_000);
    await pause(200);
    expect(troubles).toEqual([expect.stringContaining("less than 16 characters")]);
    expect(seen).toEqual([]);
    await writeFile(file, `${FRESH}\n${SECRET}\n`, { mode: 0o600 });
    await until("the new secret", () => seen.length > 0, 5_000);
    stop();
    expect(seen).toEqual([[FRESH, SECRET]]);
  });
});

function passwordOf(secret: string, username: string): string {
  const second = Number(/^\d+/.exec(username)?.[0]);
  return issueCredential(secret, username.slice(username.indexOf(":") + 1), 0, second * 1_000).password;
}
