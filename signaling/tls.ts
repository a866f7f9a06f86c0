import { X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { SecureContextOptions } from "node:tls";
import { readPrivateText } from "../src/drivers/state/private-files.ts";
import { StarlingError } from "../src/errors.ts";
import type { Logger } from "../src/options.ts";

/** The files of a server's certificate. */
export interface TlsFiles {
  /** PEM: the certificate, and behind it those of its authorities. */
  readonly certFile: string;
  /** PEM: its private key. Refused when others may read it. */
  readonly keyFile: string;
  /** PEM: authorities of client certificates. With it a connection without a certificate by one of them is refused. */
  readonly clientCaFile?: string;
  /** How often the files are looked at for a change, ms: whoever renews a certificate waits no longer. Default 10,000. */
  readonly lookMs?: number;
}

/** What a server's context is made of, and until when its certificate holds. */
export interface TlsContext {
  readonly options: SecureContextOptions;
  /** Unix ms. */
  readonly expiresAt: number;
}

const LOOK_MS = 10_000;
/** A key in PEM with all its comments, bytes. */
const MAX_KEY_BYTES = 65_536;
/** How long before its end a certificate is worth a warning, ms: two weeks; and how often. */
const SOON_MS = 14 * 86_400_000;
const WARN_EVERY_MS = 86_400_000;

/** Reads and checks the files. Throws `config-invalid`, which names the file, and `key-file-permissions`. */
export async function readTls(files: TlsFiles): Promise<TlsContext> {
  const cert = await readPem(files.certFile);
  const key = await readPrivateText(files.keyFile, MAX_KEY_BYTES);
  if (key === undefined)
    throw new StarlingError("config-invalid", `there is no key at ${files.keyFile}; check the path`);
  const ca = files.clientCaFile === undefined ? undefined : await readPem(files.clientCaFile);
  const { createSecureContext } = process.getBuiltinModule("node:tls");
  const options: SecureContextOptions = { cert, key, minVersion: "TLSv1.2", ...(ca !== undefined && { ca }) };
  try {
    createSecureContext(options);
    return { options, expiresAt: Date.parse(new X509Certificate(cert).validTo) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${files.certFile} and ${files.keyFile} are no certificate and its key (${why})`;
    throw new StarlingError("config-invalid", message, { cause });
  }
}

/**
 * Takes the files into use again whenever one of them has changed; connections that stand keep what they have. Files that do not fit
 * each other, as between the writing of one and of the other, change nothing and are told. Returns how to stop.
 */
export function watchTls(files: TlsFiles, use: (context: TlsContext) => void, log: Logger): () => void {
  const paths = [files.certFile, files.keyFile, ...(files.clientCaFile === undefined ? [] : [files.clientCaFile])];
  let known = "";
  let expiresAt = Number.POSITIVE_INFINITY;
  let warnedAt = Number.NEGATIVE_INFINITY;
  /** Why the files cannot be used, as it was last told. */
  let trouble = "";
  const look = async (): Promise<void> => {
    const seen = (
      await Promise.all(paths.map((path) => stat(path).then(({ mtimeMs, ino }) => `${mtimeMs}/${ino}`)))
    ).join();
    const now = Date.now();
    if (expiresAt - now < SOON_MS && now - warnedAt >= WARN_EVERY_MS) {
      log.warn("the server's certificate ends soon: renew it", { until: new Date(expiresAt).toISOString() });
      warnedAt = now;
    }
    if (seen === known) return;
    const context = await readTls(files);
    if (known !== "")
      log.info("the server's certificate was read again", { until: new Date(context.expiresAt).toISOString() });
    known = seen;
    trouble = "";
    expiresAt = context.expiresAt;
    use(context);
  };
  const again = (): void => {
    look().catch((cause: unknown) => {
      const error = cause instanceof Error ? cause.message : String(cause);
      if (error !== trouble)
        log.error("the server's certificate cannot be read again: the old one stays in use", { error });
      trouble = error;
    });
  };
  again();
  const timer = setInterval(again, files.lookMs ?? LOOK_MS).unref();
  return () => clearInterval(timer);
}

async function readPem(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    throw new StarlingError("config-invalid", `cannot read ${path}; check the path`, { cause });
  });
}
