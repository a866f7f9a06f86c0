import { createRemoteJWKSet, jwtVerify } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import { encodeDecree, signDecree } from "../../../src/proto/decrees/decree.ts";
import { encodeRevocation } from "../../../src/proto/decrees/revocation.ts";
import type { Authority } from "../../../src/proto/trust/crypto.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";
import { crypto, Lab, until } from "../attack/lab.ts";
import { SILENT } from "./cluster-of-ten.ts";
import { freshKey, opened, signed } from "./lab.ts";

/**
 * Goal: a program that is no member checks tokens by a library of its own (here jose), from the key set of a signaling server, before, while and after an
 * issuing key is exchanged.
 */

let lab: Lab;

beforeEach(async () => {
  lab = await Lab.open();
});

afterEach(async () => {
  await lab[Symbol.asyncDispose]();
});

const urlOf = (port: number): URL => new URL(`http://127.0.0.1:${port}/.well-known/jwks.json`);

async function kidsAt(port: number): Promise<string[]> {
  const { keys } = (await (await fetch(urlOf(port))).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid);
}

/** The subject of a member token as jose finds it, or the code of its refusal. A set of its own for each look: nothing is cached. */
async function seenBy(port: number, token: string): Promise<string> {
  const expected = { issuer: lab.cluster.clusterId, audience: "starling/member/1", typ: "JWT", algorithms: ["EdDSA"] };
  return jwtVerify(token, createRemoteJWKSet(urlOf(port)), expected).then(
    ({ payload }) => payload.sub ?? "",
    (error: { code: string }) => error.code,
  );
}

describe("the key set of a signaling server", () => {
  test("is public keys and nothing else, may be kept for five minutes, and is read and not written", async () => {
    const { port } = lab.server;
    const answer = await fetch(urlOf(port));
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/jwk-set+json");
    expect(answer.headers.get("cache-control")).toBe("public, max-age=300");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    const x = Buffer.from(lab.issuingKey.publicKey).toString("base64url");
    const key = { kty: "OKP", crv: "Ed25519", x, kid: lab.mint.kid, use: "sig", alg: "EdDSA" };
    expect(await answer.json()).toEqual({ keys: [key] });
    expect(await (await fetch(urlOf(port), { method: "HEAD" })).text()).toBe("");
    for (const method of ["POST", "PUT", "DELETE"]) expect((await fetch(urlOf(port), { method })).status).toBe(405);
  });

  test("is enough for jose to take a member's token, and to refuse every other", async () => {
    const { port } = lab.server;
    const { id } = (await lab.node()).identity;
    const token = await lab.token(id);
    expect(await seenBy(port, token)).toBe(id);
    const { header, claims } = opened(token);
    expect(await seenBy(port, await signed(header, claims, freshKey()))).toBe("ERR_JWS_SIGNATURE_VERIFICATION_FAILED");
    const stranger = freshKey();
    const named = { ...header, kid: kidOf(stranger.publicKey) };
    expect(await seenBy(port, await signed(named, claims, stranger))).toBe("ERR_JWKS_NO_MATCHING_KEY");
    expect(await seenBy(port, await lab.token(id, -120_000))).toBe("ERR_JWT_EXPIRED");
    const join = await lab.mint.issueJoinToken({}, Date.now());
    expect(await seenBy(port, join.ok ? join.token : "")).toBe("ERR_JWT_CLAIM_VALIDATION_FAILED");
  });

  test("holds both keys while one takes the place of the other, and then the new one alone", {
    timeout: 60_000,
  }, async () => {
    const { port } = lab.server;
    const admin = await lab.agent(await lab.node(), { options: { issuingKey: lab.issuingKeyFile } });
    await until("it to be in", () => admin.status().self.state === "joined");
    const { id } = (await lab.node()).identity;
    const old = await lab.token(id);
    const files = [lab.issuingKeyFile, lab.rootKeyFile] as const;
    const { kid, former } = await admin.rotations.issuing(...files, { overlapMs: 4_000 });
    await until("the server to know both", async () => (await kidsAt(port)).join() === [former, kid].join());
    expect(await seenBy(port, old)).toBe(id);
    const { id: jti } = await admin.rotateToken();
    expect(jti).not.toBe("");
    await until("the old key to be gone", async () => (await kidsAt(port)).join() === kid);
    expect(await seenBy(port, old)).toBe("ERR_JWKS_NO_MATCHING_KEY");
  });

  test("does not hold a key that was revoked, also when the revocation was kept from before", async () => {
    const authority: Authority = crypto.authority(lab.issuingKey.seed);
    const target = { of: "issuer", kid: lab.mint.kid } as const;
    const body = encodeRevocation({ target, since: Date.now() - 1_000, until: 0 });
    await using server = await startSignalingService({
      cluster: lab.cluster,
      listen: { host: "127.0.0.1", port: 0 },
      log: SILENT,
      decrees: [encodeDecree(signDecree("revocation", body, authority))],
    });
    expect(await kidsAt(server.port)).toEqual([]);
    expect(await kidsAt(lab.server.port)).toEqual([lab.mint.kid]);
  });
});
