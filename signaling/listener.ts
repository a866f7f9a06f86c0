import type { Server } from "node:http";
import type { ServerOptions } from "node:https";
import type { Logger } from "../src/options.ts";
import { readTls, type TlsFiles, watchTls } from "./tls.ts";

/** A request's head, bytes: browsers send about 1 KiB. */
export const MAX_HEADER_BYTES = 8_192;

/** A server that listens, over TLS or not. */
export interface Listener {
  readonly server: Server;
  readonly secure: boolean;
  /** Stops looking at its certificate. */
  stop(): void;
}

const HTTP_OPTIONS = {
  maxHeaderSize: MAX_HEADER_BYTES,
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  noDelay: true,
};

/**
 * Listens on `host` and `port`, with TLS 1.2 or newer where `tls` names a certificate, which is read again when its files change.
 *
 * @throws the error of `listen` (a code such as `EADDRINUSE`), and what {@link readTls} throws.
 */
export async function listenHttp(
  { host, port }: { readonly host: string; readonly port: number },
  tls: TlsFiles | undefined,
  log: Logger,
): Promise<Listener> {
  const { server, stop } = tls === undefined ? plain() : await secured(tls, log);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, exclusive: true }, () => {
        server.off("error", reject);
        resolve();
      });
    });
  } catch (error) {
    stop();
    throw error;
  }
  return { server, secure: tls !== undefined, stop };
}

// An import statement would read every export of the module, and with that load the HTTP client behind `fetch`: 18 MB.
function plain() {
  return { server: process.getBuiltinModule("node:http").createServer(HTTP_OPTIONS), stop: () => undefined };
}

async function secured(files: TlsFiles, log: Logger) {
  const { options } = await readTls(files);
  const mutual = files.clientCaFile !== undefined && { requestCert: true, rejectUnauthorized: true };
  const settings: ServerOptions = {
    ...HTTP_OPTIONS,
    ...options,
    ALPNProtocols: ["http/1.1"],
    handshakeTimeout: 5_000,
    ...mutual,
  };
  const server = process.getBuiltinModule("node:https").createServer(settings);
  const stop = watchTls(files, (context) => server.setSecureContext(context.options), log);
  return { server: server as Server, stop };
}
