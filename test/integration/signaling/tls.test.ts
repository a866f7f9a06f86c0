import { execFileSync, spawnSync } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { connect as tlsConnect } from "node:tls";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type SignalingServer, startSignalingServer } from "../../../signaling/server.ts";
import type { TlsFiles } from "../../../signaling/tls.ts";
import { systemClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { FakeAuthority } from "../../contract/signaling/authority.ts";
import { freshFolder, starling, startStarling } from "../command.ts";
import { tcp } from "./raw-client.ts";

/** `wss://`: what is spoken, what is asked of clients, and a certificate that changes while the server runs. */

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const now = systemClock();
const lines: string[] = [];
let server: SignalingServer | undefined;
let folder = "";
const at = (name: string): string => join(folder, name);

/** A certificate `name` by `authority`, which makes itself where it is its own. */
function certify(name: string, authority: string): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at(`${name}.key`)];
  const own = [
    "-subj",
    `/CN=${name}`,
    "-addext",
    "subjectAltName=IP:127.0.0.1",
    "-out",
    at(`${name}.crt`),
    "-days",
    "2",
  ];
  const by = name === authority ? [] : ["-CA", at(`${authority}.crt`), "-CAkey", at(`${authority}.key`)];
  execFileSync("openssl", ["req", "-x509", ...key, ...own, ...by], { stdio: "ignore" });
}

beforeAll(async () => {
  if (!hasOpenssl) return;
  folder = await freshFolder();
  for (const name of ["authority", "foreign"]) certify(name, name);
  for (const name of ["server", "renewed", "client"]) certify(name, "authority");
  certify("stranger", "foreign");
});

afterEach(() => server?.kill());

async function start(tls: Partial<TlsFiles> = {}, loginMs = 5_000): Promise<SignalingServer> {
  lines.length = 0;
  const note = (message: string): void => void lines.push(message);
  server = await startSignalingServer({
    listen: { host: "127.0.0.1", port: 0 },
    tls: { certFile: at("server.crt"), keyFile: at("server.key"), ...tls },
    authority: new FakeAuthority(now).asAuthority(),
    random: systemRandom(),
    now,
    limits: { loginMs },
    logger: { debug: note, info: note, warn: note, error: note },
  });
  return server;
}

/** Whether a WebSocket opens: `open`, or why not. */
async function opens(port: number, options: Record<string, unknown> = {}): Promise<string> {
  const ca = await readFile(at("authority.crt"));
  return new Promise((resolve) => {
    const socket = new WebSocket(`wss://127.0.0.1:${port}`, { ca, ...options });
    socket.once("open", () => {
      socket.terminate();
      resolve("open");
    });
    socket.once("error", (error) => resolve(error.message));
  });
}

const identity = async (name: string) => ({
  cert: await readFile(at(`${name}.crt`)),
  key: await readFile(at(`${name}.key`)),
});

/** The name in the certificate that the server shows. */
async function shown(port: number): Promise<string | undefined> {
  const ca = await readFile(at("authority.crt"));
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: "127.0.0.1", port, ca }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

describe.skipIf(!hasOpenssl)("a signaling server with a certificate", () => {
  test("speaks TLS 1.2 and newer, and nothing older or in clear", async () => {
    const { port } = await start();
    expect(await opens(port)).toBe("open");
    expect(await opens(port, { maxVersion: "TLSv1.2" })).toBe("open");
    expect(await opens(port, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" })).not.toBe(
      "open",
    );
    expect(await opens(port, { ca: await readFile(at("foreign.crt")) })).toMatch(/certificate/);
    const { socket, closed } = await tcp(port);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await closed;
  });

  test("tells browsers to come by TLS only, and to guess, keep and frame nothing", async () => {
    const { port } = await start();
    const ca = await readFile(at("authority.crt"));
    const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
      request(`https://127.0.0.1:${port}/healthz`, { ca }, (answer) => {
        answer.resume();
        resolve(answer.headers);
      })
        .once("error", reject)
        .end();
    });
    expect(headers).toMatchObject({
      "strict-transport-security": "max-age=31536000",
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    });
  });

  test("cuts who connects and does not begin TLS, and counts it", async () => {
    const { port } = await start({}, 200);
    const { closed } = await tcp(port);
    await closed;
    expect(server?.counters().loginTimeouts).toBe(1);
    await vi.waitFor(() => expect(server?.connections).toBe(0));
  });

  test("asks for a client's certificate where it is told whose to take, and takes no other", async () => {
    const { port } = await start({ clientCaFile: at("authority.crt") });
    expect(await opens(port, await identity("client"))).toBe("open");
    expect(await opens(port)).not.toBe("open");
    expect(await opens(port, await identity("stranger"))).not.toBe("open");
  });

  test("takes a renewed certificate into use without a restart, and keeps the old one while the files do not fit", async () => {
    const files = { certFile: at("live.crt"), keyFile: at("live.key") };
    const install = async (part: "crt" | "key", name: string) => copyFile(at(`${name}.${part}`), at(`live.${part}`));
    await install("key", "server");
    await install("crt", "server");
    const { port } = await start({ ...files, lookMs: 20 });
    expect(await shown(port)).toBe("server");
    await install("crt", "renewed");
    await vi.waitFor(() =>
      expect(lines).toContain("the server's certificate cannot be read again: the old one stays in use"),
    );
    expect(await shown(port)).toBe("server");
    await install("key", "renewed");
    await vi.waitFor(async () => expect(await shown(port)).toBe("renewed"));
    // Both hold for two days only; the files were looked at many times.
    expect(lines.filter((line) => line.includes("ends soon"))).toHaveLength(1);
  });

  test("does not start with a key that others may read, or that is another certificate's", async () => {
    await writeFile(at("loose.key"), await readFile(at("server.key")), { mode: 0o644 });
    await expect(start({ keyFile: at("loose.key") })).rejects.toMatchObject({ code: "key-file-permissions" });
    await expect(start({ keyFile: at("renewed.key") })).rejects.toMatchObject({ code: "config-invalid" });
    await expect(start({ certFile: at("nowhere.crt") })).rejects.toMatchObject({ code: "config-invalid" });
  });
});

describe.skipIf(!hasOpenssl)("an agent", () => {
  test("joins over wss:// with a private authority and its own certificate, and not without them", {
    timeout: 60_000,
  }, async () => {
    const state = at("founder");
    await starling(["init", "--state", state, "--name", "tls"]);
    const tls = ["--tls-cert", at("server.crt"), "--tls-key", at("server.key"), "--client-ca", at("authority.crt")];
    const signal = startStarling([
      "signal",
      "--state",
      state,
      "--listen",
      "127.0.0.1:0",
      ...tls,
      "--json",
      "--log",
      "warn",
    ]);
    const { url } = JSON.parse(await signal.line()) as { url: string };
    expect(url).toMatch(/^wss:/);
    const invite = (await starling(["invite", "--state", state, "--signaling", url, "--uses", "2"])).stdout;
    const up = (...flags: string[]) => [
      "up",
      "--state",
      at(`agent-${flags.length}`),
      "--invite-file",
      "-",
      "--log",
      "error",
      "--json",
      ...flags,
    ];
    const own = [
      "--signaling-ca",
      at("authority.crt"),
      "--signaling-cert",
      at("client.crt"),
      "--signaling-key",
      at("client.key"),
    ];
    const agent = startStarling(up(...own), { input: invite });
    expect(JSON.parse(await agent.line())).toMatchObject({ id: expect.any(String) });
    const without = await starling(up("--join-timeout", "2s"), { input: invite });
    expect(without).toMatchObject({ code: 1 });
    expect(without.stderr).toMatch(/signaling server/);
  });
});
