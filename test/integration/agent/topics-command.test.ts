import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, starling, startStarling } from "../command.ts";
import { until } from "../until.ts";

/** `starling publish` and `starling subscribe` between two processes, as a person would use them. */
test("what one member publishes by command another one's subscribe prints, as text and as JSON", async () => {
  const folder = await freshFolder();
  const founder = join(folder, "founder");
  expect(await starling(["init", "--state", founder, "--name", "test"])).toMatchObject({ code: 0 });
  const server = startStarling(["signal", "--state", founder, "--listen", "127.0.0.1:0", "--json", "--log", "warn"]);
  const { url } = JSON.parse(await server.line()) as { url: string };
  const invited = await starling(["invite", "--state", founder, "--uses", "2", "--signaling", url]);
  const state = (name: string): readonly string[] => ["--state", join(folder, name)];
  for (const name of ["one", "two"]) {
    const flags = ["--name", name, "--json", "--log", "warn"];
    const member = startStarling(["up", ...state(name), ...flags], { env: { STARLING_INVITE: invited.stdout.trim() } });
    await member.line();
  }
  await until("they are linked", async () => {
    const status = await starling(["status", ...state("one"), "--json"]);
    return (JSON.parse(status.stdout) as { links: unknown[] }).links.length === 1;
  });
  const asText = startStarling(["subscribe", "news", ...state("two")]);
  const asJson = startStarling(["subscribe", "news", "--json", ...state("one")]);
  // A subscription says nothing when it begins, so the first messages may be too early.
  await until("both have heard something", async () => {
    expect(await starling(["publish", "news", "hello", ...state("one")])).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "",
    });
    return asText.stdout !== "" && asJson.stdout !== "";
  });
  expect(await asText.line()).toMatch(/^[a-z2-7]{8} {2}hello$/);
  const base64 = Buffer.from("hello").toString("base64");
  expect(JSON.parse(await asJson.line())).toEqual({
    topic: "news",
    from: expect.stringMatching(/^[a-z2-7]{52}$/),
    publishedAt: expect.stringMatching(/^\d{4}-/),
    text: "hello",
    base64,
  });
  expect(await starling(["publish", "news", "-", ...state("two")], { input: "piped" })).toMatchObject({ code: 0 });
  await until("the piped text is there", () => asText.stdout.includes("  piped\n"));
  const wrong = await starling(["publish", "not a topic", "x", ...state("one")]);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain("is no topic");
  for (const reader of [asText, asJson]) {
    reader.signal("SIGINT");
    expect(await reader.ended).toMatchObject({ code: 0, stderr: "" });
  }
}, 60_000);
