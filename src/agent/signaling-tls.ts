import { readFile } from "node:fs/promises";
import type { SignalingTls } from "../drivers/signaling.ts";
import { readPrivateText } from "../drivers/state/private-files.ts";
import { StarlingError } from "../errors.ts";
import type { SignalingTlsFiles } from "../options.ts";

/** A private key in PEM with its comments, bytes. */
const MAX_KEY_BYTES = 65_536;

/** Reads what the options name. Throws `config-invalid`, and `key-file-permissions` for a key that others may read. */
export async function readSignalingTls({ ca, cert, key }: SignalingTlsFiles): Promise<SignalingTls> {
  if ((cert === undefined) !== (key === undefined))
    throw new StarlingError("config-invalid", "signalingTls: a certificate and its key go together; name both");
  return {
    ...(ca !== undefined && { ca: await readPem(ca) }),
    ...(cert !== undefined && { cert: await readPem(cert) }),
    ...(key !== undefined && { key: await readKey(key) }),
  };
}

async function readPem(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    throw new StarlingError("config-invalid", `signalingTls: cannot read ${path}; check the path`, { cause });
  });
}

async function readKey(path: string): Promise<string> {
  const text = await readPrivateText(path, MAX_KEY_BYTES);
  if (text === undefined) throw new StarlingError("config-invalid", `signalingTls: there is no key at ${path}`);
  return text;
}
