import type { IncomingMessage, ServerResponse } from "node:http";
import { ROUTE_RIGHTS } from "../src/proto/trust/rights.ts";

/** What a signaling server tells over plain HTTP: that it lives, and by which keys the tokens of its cluster are checked. */

/** Where programs look for a key set (RFC 8615, as OpenID Connect has made usual). */
const KEY_SET_ROUTE = "/.well-known/jwks.json";
/**
 * How long a key set may be kept, s. A key that is to come is in it days before its first token, by the way issuing keys are exchanged; this
 * is how late a revoked one may still be taken for good.
 */
const KEY_SET_MAX_AGE = 300;

/** What the pages are made of, asked at each request. */
interface Pages {
  readonly connections: () => number;
  /** The JSON of the key set; undefined: this server has none. */
  readonly keySet: (() => string) | undefined;
}

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers `request` under the `headers` of every answer. */
export function answerPage(
  request: IncomingMessage,
  response: ServerResponse,
  pages: Pages,
  headers: Readonly<Record<string, string>>,
): void {
  const { status, type, body, headers: own } = pageOf(request, pages);
  response.writeHead(status, { ...headers, "content-type": type, ...own }).end(body);
}

function pageOf({ method, url = "" }: IncomingMessage, { connections, keySet }: Pages): Page {
  const page = pageAt(url, connections, keySet);
  if (page === undefined) return { status: 404, type: "text/plain", body: "not found\n" };
  if (method === "GET" || method === "HEAD") return page;
  return { status: 405, type: "text/plain", body: "only GET\n", headers: { allow: "GET, HEAD" } };
}

function pageAt(url: string, connections: Pages["connections"], keySet: Pages["keySet"]): Page | undefined {
  if (url === "/healthz" && ROUTE_RIGHTS[url] === "anyone")
    return { status: 200, type: "application/json", body: `{"status":"ok","connections":${connections()}}\n` };
  if (url !== KEY_SET_ROUTE || ROUTE_RIGHTS[url] !== "anyone" || keySet === undefined) return undefined;
  const headers = { "cache-control": `public, max-age=${KEY_SET_MAX_AGE}` };
  return { status: 200, type: "application/jwk-set+json", body: `${keySet()}\n`, headers };
}
