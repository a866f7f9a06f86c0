import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, starling, startStarling } from "./command.ts";
import { until } from "./until.ts";

/** Goal: at a server that issues nothing, the command says so in time, and a member with the key opens the door. */

test("up fails in time without an issuer and says what to do; a member with --issuing-key lets others in", async () => {
  const folder = await freshFolder();
  const founder = join(folder, "founder");
  expect((await starling(["init", "--state", founder])).code).toBe(0);
  const server = startStarling([
    ...["signal", "--state", founder, "--no-issuer", "--listen", "127.0.0.1:0", "--json", "--log", "warn"],
  ]);
  const { url, issuer } = JSON.parse(await server.line()) as { url: string; issuer: boolean };
  expect(issuer).toBe(false);
  await until("it says who issues", () => server.stderr.includes("starling up --issuing-key FILE"));
  const invite = (await starling(["invite", "--state", founder, "--signaling", url])).stdout;
  const up = ["up", "--json", "--log", "error", "--invite-file", "-"];
  const alone = await starling([...up, "--state", join(folder, "alone"), "--join-timeout", "700ms"], { input: invite });
  expect(alone).toMatchObject({ code: 1, stdout: "" });
  expect(alone.stderr).toMatch(/joining: asking for a member token at ws:/);
  expect(alone.stderr).toMatch(/starling: no issuer .*--issuing-key FILE.*starling invite --for [a-z2-7]{52}/);
  const key = join(founder, "issuing.key");
  const member = startStarling([...up, "--state", join(folder, "issuer"), "--issuing-key", key], { input: invite });
  await member.line();
  const joined = startStarling([...up, "--state", join(folder, "alone")], { input: invite });
  expect(JSON.parse(await joined.line())).toMatchObject({ id: expect.stringMatching(/^[a-z2-7]{52}$/) });
  const second = await starling([...up, "--state", join(folder, "second"), "--join-timeout", "5s"], { input: invite });
  expect(second).toMatchObject({ code: 1, stdout: "" });
  expect(second.stderr).toContain("used as often as it may be");
  for (const running of [joined, member, server]) running.signal("SIGTERM");
  expect((await member.ended).code).toBe(0);
}, 60_000);
