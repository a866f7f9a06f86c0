import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import type { StunServer } from "../../../stun/server.ts";
import { relayServer, SECRET } from "./lab.ts";

/**
 * Chromium's WebRTC stack (libwebrtc) as a client of our server, on loopback: pages that may use nothing but relays talk through them.
 * Skipped where Chromium is not installed (Debian: `apt install chromium`; `CHROMIUM` names its program).
 */
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const HAS_CHROMIUM = spawnSync(CHROMIUM, ["--version"]).status === 0;
const why = HAS_CHROMIUM ? "" : ` (skipped: ${CHROMIUM} is not there)`;

/** Calls a function of `chromium-page.js` in a page. */
function call(where: Page, name: "offer" | "answer" | "echo", ...args: readonly unknown[]): Promise<unknown> {
  return where.evaluate(`${name}(${args.map((value) => JSON.stringify(value)).join(", ")})`);
}

describe.skipIf(!HAS_CHROMIUM)(`Chromium${why}`, () => {
  let server: StunServer;
  let browser: Browser;

  beforeAll(async () => {
    server = await relayServer();
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--allow-loopback-in-peer-connection"],
    });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  const host = (): string => `127.0.0.1:${server.listening[0]?.port}`;

  /** A page of its own context, which shares nothing with others but the browser. */
  async function page(): Promise<Page> {
    const context = await browser.newContext();
    const fresh = await context.newPage();
    await fresh.addScriptTag({ path: join(import.meta.dirname, "chromium-page.js") });
    return fresh;
  }

  test.each([
    ["over UDP", ""],
    ["over TCP", "?transport=tcp"],
  ])(
    "echoes a message through relays alone: %s",
    async (_name, query) => {
      const { username, password } = issueCredential(SECRET, "browser", 600_000, Date.now());
      const turn = { urls: `turn:${host()}${query}`, username, credential: password };
      const ice = { iceServers: [turn], iceTransportPolicy: "relay" };
      const [caller, callee] = await Promise.all([page(), page()]);
      const before = server.counters();
      const offer = await call(caller, "offer", ice);
      const answer = await call(callee, "answer", ice, offer);
      expect(await call(caller, "echo", answer, 20_000)).toEqual({ size: 20_000, kinds: ["relay", "relay"] });
      const { bytesToPeers, bytesToClients } = server.counters();
      expect(bytesToPeers - before.bytesToPeers).toBeGreaterThan(40_000);
      expect(bytesToClients - before.bytesToClients).toBeGreaterThan(40_000);
      await Promise.all([caller.context().close(), callee.context().close()]);
    },
    60_000,
  );

  test("gets no relay with a wrong password", async () => {
    const { username } = issueCredential(SECRET, "browser", 600_000, Date.now());
    const turn = { urls: `turn:${host()}`, username, credential: "wrong" };
    const stranger = await page();
    const offer = await call(stranger, "offer", { iceServers: [turn], iceTransportPolicy: "relay" });
    expect(offer).not.toContain("a=candidate");
  }, 60_000);

  test("learns its address", async () => {
    const before = server.counters().bindings;
    const asker = await page();
    await call(asker, "offer", { iceServers: [{ urls: `stun:${host()}` }] });
    expect(server.counters().bindings).toBeGreaterThan(before);
  }, 60_000);
});
