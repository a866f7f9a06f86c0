import { execFileSync, spawnSync } from "node:child_process";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { showCertificate } from "../../../src/drivers/certificate-proof.ts";
import { certificateWay } from "../../../src/issuer/certificate-way.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { certificateCredential, certificateOf } from "../../../src/proto/trust/certificate.ts";
import { freshFolder, starling, startStarling } from "../command.ts";
import { stranger } from "./lab.ts";

/** Goal: a machine joins by a certificate of an authority that the operator trusts, as what its name stands for; nobody else does by it. */

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const CLUSTER = "a".repeat(32);
const DAY = 24 * 3_600_000;
const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

let folder = "";
let peer: PeerId;
const at = (name: string): string => join(folder, name);

/** A certificate by `authority`, with the extensions of a section of the configuration below; where it is its own authority it makes itself. */
function certify(name: string, authority: string, section: string, key = EC, subject = name): void {
  const out = [
    "-nodes",
    "-keyout",
    at(`${name}.key`),
    "-out",
    at(`${name}.crt`),
    "-days",
    "2",
    "-subj",
    `/CN=${subject}`,
  ];
  const by = name === authority ? [] : ["-CA", at(`${authority}.crt`), "-CAkey", at(`${authority}.key`)];
  const how = ["-config", at("openssl.cnf"), "-extensions", section];
  execFileSync("openssl", ["req", "-x509", ...key, ...out, ...how, ...by], { stdio: "ignore" });
}

const CONFIG = `
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:TRUE
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
subjectAltName = DNS:web-1.example,IP:192.0.2.7
[unsaid]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:web-1.example
authorityKeyIdentifier = none
[any]
basicConstraints = critical,CA:FALSE
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
`;

const grants = [
  { value: "DNS:web-1.example", role: "node", scopes: ["mesh:join", "kv:*"] },
  { value: "plain", role: "viewer", scopes: ["mesh:join", "kv:read:*"] },
];
const way = (change: { grants?: typeof grants; ca?: string; cluster?: string } = {}) =>
  certificateWay({ ca: change.ca ?? at("authority.crt"), grants: change.grants ?? grants }, change.cluster ?? CLUSTER);

async function show(name: string, change: { key?: string; peer?: PeerId; at?: number } = {}): Promise<string> {
  const key = await readFile(at(`${change.key ?? name}.key`), "utf8");
  const when = change.at ?? Date.now();
  return showCertificate({ certFile: at(`${name}.crt`), key, clusterId: CLUSTER, peer: change.peer ?? peer, at: when });
}

const verdict = async (credential: string, now = Date.now(), by = way()): Promise<string | undefined> => {
  const granted = await by.admit(credential, peer, now);
  return granted === undefined ? undefined : granted.ok ? granted.who : granted.fault;
};

beforeAll(async () => {
  peer = stranger();
  folder = await freshFolder();
  if (!hasOpenssl) return;
  await writeFile(at("openssl.cnf"), CONFIG);
  for (const name of ["authority", "foreign"]) certify(name, name, "ca");
  certify("web-1", "authority", "client");
  certify("rsa", "authority", "client", ["-newkey", "rsa:2048"]);
  certify("edwards", "authority", "client", ["-newkey", "ed25519"]);
  certify("plain", "authority", "any");
  certify("unknown", "authority", "any");
  certify("server", "authority", "server");
  certify("below", "authority", "ca");
  certify("web-2", "web-1", "client");
  certify("pretender", "foreign", "client");
  certify("twin", "twin", "ca", EC, "authority");
  // It does not say by which key it is: only the signature tells.
  certify("impostor", "twin", "unsaid");
}, 60_000);

describe.skipIf(!hasOpenssl)("a certificate (skipped without openssl)", () => {
  test("grants what its name stands for, whatever kind of key it has", async () => {
    expect(await way().admit(await show("web-1"), peer, Date.now())).toEqual({
      ok: true,
      role: "node",
      scopes: ["mesh:join", "kv:*"],
      who: "x509:web-1",
    });
    for (const name of ["rsa", "edwards"]) expect(await verdict(await show(name))).toBe(`x509:${name}`);
    expect(await way().admit(await show("plain"), peer, Date.now())).toMatchObject({ ok: true, role: "viewer" });
    const everybody = [{ value: "*", role: "viewer", scopes: ["mesh:join"] }];
    expect(await verdict(await show("unknown"), Date.now(), way({ grants: everybody }))).toBe("x509:unknown");
  });

  test("is worth nothing to another node, in another cluster, later, or by a name that nobody has granted anything", async () => {
    expect(await verdict(await show("web-1", { peer: stranger() }))).toBe("bad-credential");
    expect(await verdict(await show("web-1"), Date.now(), way({ cluster: "b".repeat(32) }))).toBe("bad-credential");
    expect(await verdict(await show("web-1"), Date.now() + 660_000)).toBe("expired");
    expect(await verdict(await show("web-1", { at: Date.now() + 660_000 }))).toBe("expired");
    expect(await verdict(await show("unknown"))).toBe("missing-scope");
    const late = Date.now() + 3 * DAY;
    // The authority has ended by then as well.
    expect(await verdict(await show("web-1", { at: late }), late)).toBe("bad-credential");
  });

  test.each([
    ["by another authority", "pretender"],
    ["by another authority of the same name", "impostor"],
    ["by somebody whom the authority has certified", "web-2"],
    ["of a server", "server"],
    ["of an authority below", "below"],
    ["of the authority itself", "authority"],
  ])("%s admits nobody", async (_, name) => {
    expect(await verdict(await show(name))).toBe("bad-credential");
  });

  test("admits nobody without its key, or in part", async () => {
    await expect(show("web-1", { key: "plain" })).rejects.toMatchObject({ code: "config-invalid" });
    const shown = certificateOf(await show("web-1"));
    const other = certificateOf(await show("plain"));
    if (typeof shown !== "object" || typeof other !== "object") throw new Error("they are certificates");
    for (const forged of [
      { ...shown, certificate: other.certificate },
      { ...shown, at: shown.at + 1 },
      { ...shown, signature: shown.signature.slice(1) },
      { ...shown, signature: new Uint8Array(0) },
      { ...shown, certificate: shown.certificate.slice(0, -1) },
      { ...shown, certificate: new Uint8Array(0) },
    ])
      expect(await verdict(certificateCredential(forged))).toBe("bad-credential");
    expect(await verdict("x509.")).toBe("bad-credential");
    expect(await verdict("oidc.x")).toBeUndefined();
  });

  test("of an authority that was taken out of the file admits nobody from then on", async () => {
    const ca = at("changing.pem");
    await writeFile(ca, await readFile(at("authority.crt")));
    const by = way({ ca });
    expect(await verdict(await show("web-1"), Date.now(), by)).toBe("x509:web-1");
    await writeFile(ca, await readFile(at("foreign.crt")));
    expect(await verdict(await show("web-1"), Date.now(), by)).toBe("bad-credential");
    await rename(ca, `${ca}.gone`);
    await expect(verdict(await show("web-1"), Date.now(), by)).rejects.toMatchObject({ code: "config-invalid" });
  });

  test("makes nobody throw, whatever bytes stand in its place", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const text = `x509.${Buffer.from(bytes).toString("base64url")}`;
        expect(await verdict(text)).toBe("bad-credential");
        expect(await verdict(certificateCredential({ certificate: bytes, at: 1, signature: bytes }))).toBe(
          "bad-credential",
        );
      }),
      { numRuns: 200 },
    );
  });

  test("lets its machine in by `up --join-cert`, as what the section signal.certificates says", {
    timeout: 90_000,
  }, async () => {
    const state = join(folder, "founder");
    await starling(["init", "--state", state]);
    const section = {
      certificates: { ca: at("authority.crt"), grants: [{ value: "DNS:web-1.example", role: "viewer" }] },
    };
    await writeFile(at("config.yaml"), JSON.stringify({ signal: section }));
    const listen = ["--listen", "127.0.0.1:0", "--config", at("config.yaml"), "--json", "--log", "silent"];
    const door = startStarling(["signal", "--state", state, ...listen]);
    const { url } = JSON.parse(await door.line()) as { url: string };
    const invite = (await starling(["invite", "--state", state, "--signaling", url, "--without-token"])).stdout;
    const up = (name: string, ...flags: string[]) => [
      ...["up", "--state", at(`state-${name}`), "--json", "--log", "silent", "--join-timeout", "20s"],
      ...["--invite-file", "-", "--join-cert", at(`${name}.crt`), "--join-key", at(`${name}.key`), ...flags],
    ];
    const member = startStarling(up("web-1"), { input: invite });
    const { id } = JSON.parse(await member.line()) as { id: string };
    const status = JSON.parse((await starling(["status", "--state", at("state-web-1"), "--json"])).stdout);
    expect(status.self).toMatchObject({ id, scopes: expect.not.arrayContaining(["kv:*"]) });
    expect(status.self.scopes).toContain("kv:read:*");
    const outsider = await starling(up("plain"), { input: invite, timeoutMs: 40_000 });
    expect(outsider).toMatchObject({ code: 1, stdout: "" });
    member.signal("SIGTERM");
    await member.ended;
  });
});
