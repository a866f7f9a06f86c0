/**
 * What operators scrape: `/metrics`, `/healthz` and `/readyz` over HTTP.
 *
 * On a loopback address it needs no key, but a `Host` that is one: a page in a browser on this machine, whose name was pointed at
 * 127.0.0.1, reads nothing. Elsewhere metrics need an API key with the scope `metrics:read`. Health says nothing but a word.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { StarlingError } from "../errors.ts";
import { ROUTE_RIGHTS, scopeFor } from "../proto/trust/rights.ts";

/** Connections at a time: some scrapers and people. */
const MAX_CONNECTIONS = 32;

export interface Observation extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts to listen. `metrics` renders the text; `isReady` answers `/readyz`; `isAllowed` judges the bearer key of a request that comes
 * to an address beyond loopback. Throws `usage` when the address cannot be listened on.
 */
export async function serveObservation(options: {
  readonly listen: { readonly host: string; readonly port: number };
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
  readonly isReady: () => boolean;
  readonly isAllowed: (key: string) => Promise<boolean>;
}): Promise<Observation> {
  const { host, port } = options.listen;
  const server = createServer({ maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 5_000 });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        new StarlingError(
          "usage",
          `cannot listen on ${host}:${port} for metrics (${cause.code}); name another address`,
          { cause },
        ),
      ),
    );
    server.listen({ host, port, exclusive: true }, resolve);
  });
  const address = server.address() as AddressInfo;
  const guard = isLoopback(address.address) ? isLocalHost : bearer(options.isAllowed);
  server.on("request", (request, response) => {
    void answer(request, options, guard).then(
      (reply) => send(response, reply),
      () => send(response, { status: 500, text: "the metrics cannot be read at the moment\n" }),
    );
  });
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  return { host: address.address, port: address.port, close, [Symbol.asyncDispose]: close };
}

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
}

type Guard = (request: IncomingMessage) => Promise<Reply | undefined>;

async function answer(
  request: IncomingMessage,
  options: Pick<Parameters<typeof serveObservation>[0], "metrics" | "isReady">,
  guard: Guard,
): Promise<Reply> {
  if (request.method !== "GET" && request.method !== "HEAD") return { status: 405, text: "only GET\n" };
  const route = request.url?.split("?")[0] ?? "";
  if (!isRoute(route)) return { status: 404, text: `there are ${ROUTES.join(", ")}\n` };
  const refusal = ROUTE_RIGHTS[route] === "anyone" ? undefined : await guard(request);
  if (refusal !== undefined) return refusal;
  switch (route) {
    case "/healthz":
      return { status: 200, text: "ok\n" };
    case "/readyz":
      return options.isReady() ? { status: 200, text: "ready\n" } : { status: 503, text: "joining\n" };
    case "/metrics":
      return { status: 200, ...(await options.metrics()) };
  }
}

const ROUTES = ["/healthz", "/readyz", "/metrics"] as const satisfies readonly (keyof typeof ROUTE_RIGHTS)[];

function isRoute(path: string): path is (typeof ROUTES)[number] {
  return (ROUTES as readonly string[]).includes(path);
}

/** Against DNS rebinding: the name by which we are called is our own. */
const isLocalHost: Guard = async (request) => {
  const name = request.headers.host?.replace(/:\d+$/, "").replace(/^\[|\]$/g, "") ?? "";
  if (name === "localhost" || isLoopback(name)) return undefined;
  return { status: 421, text: "call it by 127.0.0.1, [::1] or localhost\n" };
};

function bearer(isAllowed: (key: string) => Promise<boolean>): Guard {
  return async (request) => {
    const key = /^Bearer ([\w-]{1,256})$/.exec(request.headers.authorization ?? "")?.[1];
    if (key !== undefined && (await isAllowed(key))) return undefined;
    const text = `metrics need an API key: starling apikey create --name NAME --scope ${scopeFor("read-metrics")}\n`;
    return { status: key === undefined ? 401 : 403, text };
  };
}

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && ipaddr.process(host).range() === "loopback";
}

function send(response: ServerResponse, { status, text, type = "text/plain; charset=utf-8" }: Reply): void {
  response
    .writeHead(status, {
      "content-type": type,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(status === 401 && { "www-authenticate": "Bearer" }),
      connection: "close",
    })
    .end(text);
}
