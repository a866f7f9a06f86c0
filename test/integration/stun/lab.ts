import { execFileSync, spawnSync } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type StunServer, type StunServerOptions, startStunServer } from "../../../stun/server.ts";
import { freshFolder } from "../command.ts";

/** What tests of the running server share: users, secrets, a certificate, and an echo of a peer. All on loopback. */

export const USER = { username: "north", password: "a password of the tests", realm: "test.local" };
export const SECRET = "a secret of these tests only";

export interface Files {
  readonly users: string;
  readonly secret: string;
  readonly cert: string;
  readonly key: string;
}

export const HAS_OPENSSL = spawnSync("openssl", ["version"]).status === 0;

/** Files as a person would make them; the certificate only where openssl is there to make it. */
export async function makeFiles(): Promise<Files> {
  const folder = await freshFolder();
  const at = (name: string): string => join(folder, name);
  writeFileSync(at("users"), `# one line for each\n${USER.username}:${USER.password}\n`, { mode: 0o600 });
  writeFileSync(at("secret"), `${SECRET}\n`, { mode: 0o600 });
  if (HAS_OPENSSL) {
    const made = ["-keyout", at("key.pem"), "-out", at("cert.pem"), "-days", "2", "-subj", "/CN=localhost"];
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...made], { stdio: "ignore" });
  }
  return { users: at("users"), secret: at("secret"), cert: at("cert.pem"), key: at("key.pem") };
}

export function identityOf(files: Files): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(files.cert), key: readFileSync(files.key) };
}

/** A peer that sends everything back. */
export async function echo(address = "127.0.0.1"): Promise<Socket> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(0, address, resolve));
  return socket;
}

/** A server that relays between addresses of loopback, for credentials made with {@link SECRET}. */
export function relayServer(options: Partial<StunServerOptions> = {}): Promise<StunServer> {
  return startStunServer({
    listen: [{ address: "127.0.0.1", port: 0 }],
    realm: USER.realm,
    credentials: { users: [], secrets: [SECRET] },
    relayAddresses: ["127.0.0.1"],
    allowPeers: ["127.0.0.0/8"],
    ...options,
  });
}
