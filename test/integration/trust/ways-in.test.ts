import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { browserLogin, deviceLogin } from "../../../src/drivers/oidc-login.ts";
import { type OidcSettings, oidcWay } from "../../../src/issuer/oidc-way.ts";
import { oidcCredential, oidcNonce } from "../../../src/proto/trust/oidc.ts";
import type { AgentStatus } from "../../../src/status.ts";
import { freshFolder, starling, startStarling } from "../command.ts";
import { until } from "../until.ts";
import { freshCluster, stranger } from "./lab.ts";
import { Identity } from "./oidc-provider.ts";

/** Ways into a cluster without a token of it: an API key, and a login at a real identity provider on loopback. */

const CLIENT = "starling";
const CLUSTER = "a".repeat(32);
let identity: Identity;

beforeAll(async () => {
  identity = await Identity.open(CLIENT);
});

afterAll(() => identity.close());

const settings = (change: Partial<OidcSettings> = {}): OidcSettings => ({
  issuer: identity.issuer,
  clientId: CLIENT,
  claim: "groups",
  grants: [
    { value: "operators", role: "admin", scopes: ["*"] },
    { value: "staff", role: "member", scopes: ["mesh:join", "kv:read:*"] },
  ],
  ...change,
});

/** Logs in for `peer` in a browser; the ID token. */
function loggedIn(
  peer: ReturnType<typeof stranger>,
  person = "alice",
  groups: readonly string[] = ["operators"],
): Promise<string> {
  [identity.person, identity.groups] = [person, groups];
  return browserLogin({
    issuer: identity.issuer,
    clientId: CLIENT,
    nonce: oidcNonce(CLUSTER, peer),
    prompt: (url) => void identity.visit(url, (at) => at.includes("/callback")),
  });
}

describe("a login at an identity provider", () => {
  test("in a browser grants what the first fitting group does", async () => {
    const peer = stranger();
    const way = oidcWay(settings(), CLUSTER);
    const admin = oidcCredential(await loggedIn(peer));
    expect(await way.admit(admin, peer, Date.now())).toEqual({
      ok: true,
      role: "admin",
      scopes: ["*"],
      who: "oidc:alice",
    });
    const staff = oidcCredential(await loggedIn(peer, "bob", ["staff", "other"]));
    expect(await way.admit(staff, peer, Date.now())).toMatchObject({ ok: true, role: "member", who: "oidc:bob" });
  });

  test("on another device, by a code, is worth the same", async () => {
    const peer = stranger();
    [identity.person, identity.groups] = ["carol", ["staff"]];
    const idToken = await deviceLogin({
      issuer: identity.issuer,
      clientId: CLIENT,
      nonce: oidcNonce(CLUSTER, peer),
      prompt: (url) => void identity.visit(url),
    });
    const granted = await oidcWay(settings(), CLUSTER).admit(oidcCredential(idToken), peer, Date.now());
    expect(granted).toMatchObject({ ok: true, role: "member", who: "oidc:carol" });
    // No nonce comes back this way, so it is not bound to a node key: whoever shows it first has it, and nobody after.
    const lab = await freshCluster();
    await using issuer = await lab.issuer({ waysIn: [oidcWay(settings(), CLUSTER)], now: Date.now() });
    const shown = (subject: typeof peer) => issuer.admit(oidcCredential(idToken), subject, Date.now());
    expect(await shown(peer)).toMatchObject({ ok: true });
    expect(await shown(stranger())).toEqual({ ok: false, fault: "used-up" });
    expect(await shown(peer)).toMatchObject({ ok: true });
  });

  test("is worth nothing to another node, in another cluster, later, to another client, or without a group", async () => {
    const peer = stranger();
    const way = oidcWay(settings(), CLUSTER);
    const credential = oidcCredential(await loggedIn(peer));
    const verdict = async (admitted: ReturnType<typeof way.admit>) => {
      const granted = await admitted;
      return granted?.ok === false ? granted.fault : granted;
    };
    expect(await verdict(way.admit(credential, stranger(), Date.now()))).toBe("wrong-subject");
    expect(await verdict(oidcWay(settings(), "b".repeat(32)).admit(credential, peer, Date.now()))).toBe(
      "wrong-subject",
    );
    expect(await verdict(way.admit(credential, peer, Date.now() + 12 * 60_000))).toMatch(/expired|bad-credential/);
    expect(await verdict(oidcWay(settings({ clientId: "other" }), CLUSTER).admit(credential, peer, Date.now()))).toBe(
      "bad-credential",
    );
    const outsider = oidcCredential(await loggedIn(peer, "dave", ["visitors"]));
    expect(await verdict(way.admit(outsider, peer, Date.now()))).toBe("missing-scope");
  });

  test("cannot be forged: by another key, without one, or with a shared secret", async () => {
    const peer = stranger();
    const way = oidcWay(settings(), CLUSTER);
    const [head = "", body = "", signature = ""] = (await loggedIn(peer)).split(".");
    const header = JSON.parse(Buffer.from(head, "base64url").toString());
    const claims = JSON.parse(Buffer.from(body, "base64url").toString());
    const { privateKey } = await generateKeyPair("RS256");
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const { keys } = (await (await fetch(`${identity.issuer}/jwks`)).json()) as { keys: { n?: string }[] };
    const forgeries = [
      await new SignJWT(claims).setProtectedHeader({ ...header }).sign(privateKey),
      `${part({ ...header, alg: "none" })}.${body}.`,
      await new SignJWT(claims)
        .setProtectedHeader({ alg: "HS256", kid: header.kid })
        .sign(Buffer.from(JSON.stringify(keys[0]))),
      `${head}.${part({ ...claims, groups: ["operators", "more"] })}.${signature}`,
      await new SignJWT(claims)
        .setProtectedHeader({ alg: "ES256", jwk: await exportJWK((await generateKeyPair("ES256")).publicKey) })
        .sign((await generateKeyPair("ES256")).privateKey),
    ];
    for (const forgery of forgeries)
      expect(await way.admit(oidcCredential(forgery), peer, Date.now())).toEqual({
        ok: false,
        fault: "bad-credential",
      });
  });

  test("is asked of no provider over the network in clear", () => {
    expect(() => oidcWay(settings({ issuer: "http://id.example" }), CLUSTER)).toThrow(/https/);
  });
});

describe("the command", { timeout: 90_000 }, () => {
  let folder = "";
  let url = "";
  const state = (name: string): string => join(folder, name);
  const up = (name: string, ...flags: string[]): string[] => [
    ...["up", "--state", state(name), "--name", name, "--log", "error", "--json"],
    ...["--invite-file", join(folder, "invite"), "--join-timeout", "20s", ...flags],
  ];

  beforeAll(async () => {
    folder = await freshFolder();
    await starling(["init", "--state", state("founder"), "--name", "ways"]);
    const config = { signal: { oidc: { ...settings() } } };
    await writeFile(state("signal.yaml"), JSON.stringify(config));
    const flags = ["--state", state("founder"), "--listen", "127.0.0.1:0", "--config", state("signal.yaml")];
    const server = startStarling(["signal", ...flags, "--json", "--log", "warn"]);
    url = (JSON.parse(await server.line()) as { url: string }).url;
    const invite = await starling(["invite", "--without-token", "--state", state("founder"), "--signaling", url]);
    expect(invite).toMatchObject({ code: 0 });
    await writeFile(join(folder, "invite"), invite.stdout, { mode: 0o600 });
  });

  const key = async (...scopes: string[]): Promise<string> => {
    const flags = ["--name", "test", "--state", state("founder"), "--scope", ...scopes];
    const made = await starling(["apikey", "create", ...flags]);
    expect(made.code).toBe(0);
    return made.stdout.trim();
  };

  test("joins by an API key with the key's scopes; one that was revoked, or may not join, gets nothing", async () => {
    const good = await key("mesh:join", "kv:read:app");
    const agent = startStarling(up("keyed", "--api-key-file", "-"), { input: good });
    await agent.line();
    const status = JSON.parse((await starling(["status", "--state", state("keyed"), "--json"])).stdout) as AgentStatus;
    expect(status.self.scopes).toEqual(["mesh:join", "kv:read:app"]);
    await starling(["apikey", "revoke", good.split("-")[2] as string, "--state", state("founder")]);
    for (const [name, bad] of [
      ["revoked", good],
      ["unfit", await key("kv:read:app")],
      ["made-up", `starling-key-${"a".repeat(16)}-${"a".repeat(52)}`],
    ] as const) {
      const outcome = await starling(up(name, "--api-key-file", "-"), { input: bad, timeoutMs: 40_000 });
      expect(outcome, name).toMatchObject({ code: 1, stdout: "" });
      expect(outcome.stderr).toMatch(/refuse/);
      expect(outcome.stderr).not.toContain(bad);
    }
    const audit = await readFile(join(state("founder"), "audit-signal", "000000000001.jsonl"), "utf8");
    expect(audit).toContain('"action":"issuer.admit"');
    expect(audit).not.toContain(good.slice(-20));
  });

  test("joins by a login on another device", async () => {
    [identity.person, identity.groups] = ["erin", ["staff"]];
    const agent = startStarling(up("person", "--oidc-issuer", identity.issuer, "--oidc-client", CLIENT));
    const place = await until("it says where", () => /log in at (\S+) and confirm/.exec(agent.stderr)?.[1]);
    await identity.visit(place);
    await agent.line();
    const status = JSON.parse((await starling(["status", "--state", state("person"), "--json"])).stdout) as AgentStatus;
    expect(status.self.scopes).toEqual(["mesh:join", "kv:read:*"]);
  });

  test("says what to do with an invite that holds no token", async () => {
    const outcome = await starling(up("nothing"));
    expect(outcome).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("--api-key-file") });
  });
});
