import type { Server } from "node:http";
import type { ServerOptions } from "node:https";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "../src/options.ts";
import { readTls, type TlsContext, type TlsFiles, watchTls } from "./tls.ts";

/** A request's head, bytes: browsers send about 1 KiB. */
export const MAX_HEADER_BYTES = 8_192;

/** A server that listens, over TLS or not. */
export interface Listener {
  readonly server: Server;
  readonly secure: boolean;
  /** When the certificate in use ends, Unix ms; undefined without one. */
  certificateEndsAt(): number | undefined;
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
  const { server, certificateEndsAt, stop } = tls === undefined ? plain() : await secured(tls, log);
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
  return { server, secure: tls !== undefined, certificateEndsAt, stop };
}

// An import statement would read every export of the module, and with that load the HTTP client behind `fetch`: 18 MB.
function plain() {
  const server = process.getBuiltinModule("node:http").createServer(HTTP_OPTIONS);
  return { server, certificateEndsAt: () => undefined, stop: () => undefined };
}

async function secured(files: TlsFiles, log: Logger) {
  const { options, expiresAt } = await readTls(files);
  let endsAt = expiresAt;
  const mutual = files.clientCaFile !== undefined && { requestCert: true, rejectUnauthorized: true };
  const settings: ServerOptions = {
    ...HTTP_OPTIONS,
    ...options,
    ALPNProtocols: ["http/1.1"],
    handshakeTimeout: 5_000,
    ...mutual,
  };
  const server = process.getBuiltinModule("node:https").createServer(settings);
  const use = (context: TlsContext): void => {
    server.setSecureContext(context.options);
    endsAt = context.expiresAt;
  };
  const stop = watchTls(files, use, log);
  return { server: server as Server, certificateEndsAt: () => endsAt, stop };
}

/** What a connection is known by from its first byte to its request: its socket, or under TLS, which wraps that, where it comes from. */
export function originOf(socket: Duplex, { secure }: Pick<Listener, "secure">): Duplex | string {
  return secure && socket instanceof Socket ? `${socket.remoteAddress} ${socket.remotePort}` : socket;
}

/** What goes with every answer over HTTP: it is for programs, and not to be kept, framed or guessed at. */
export function headersOf({ secure }: Listener): Readonly<Record<string, string>> {
  return {
    connection: "close",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    ...(secure && { "strict-transport-security": "max-age=31536000" }),
  };
}
