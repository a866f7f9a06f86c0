import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";
import type { TLSSocket } from "node:tls";

/** One look at a web server: whether it answers, how fast, what time it has, and who made its certificate. */

export interface HttpLook {
  readonly status: number;
  readonly rttMs: number;
  /** By its `Date`, Unix ms, cut to the second. */
  readonly serverTime: number | undefined;
  /** Who made the certificate, where this machine does not trust it. */
  readonly untrustedIssuer: string | undefined;
}

/** The longest that a look may take, ms. */
const LOOK_MS = 5_000;

/** Asks for `url` (`http:` or `https:`); a text: why there is no answer. Reads no body. Never rejects. */
export function lookAt(url: string, now: () => number): Promise<HttpLook | string> {
  return new Promise((resolve) => {
    const since = now();
    const isSecure = url.startsWith("https:");
    const request = (isSecure ? getSecure : getPlain)(url, { rejectUnauthorized: false, agent: false });
    const timer = setTimeout(() => finish("no answer within 5 s"), LOOK_MS);
    const finish = (outcome: HttpLook | string): void => {
      clearTimeout(timer);
      request.destroy();
      resolve(outcome);
    };
    request.on("response", (response) => {
      const date = Date.parse(response.headers.date ?? "");
      finish({
        status: response.statusCode ?? 0,
        rttMs: now() - since,
        serverTime: Number.isNaN(date) ? undefined : date,
        untrustedIssuer: isSecure ? untrustedIssuerOf(response.socket as TLSSocket) : undefined,
      });
    });
    request.on("error", (error: NodeJS.ErrnoException) => finish(`no connection (${error.code ?? error.message})`));
  });
}

/** Who made the certificate at the other end; undefined where this machine trusts it. */
export function untrustedIssuerOf(socket: TLSSocket): string | undefined {
  if (socket.authorized) return undefined;
  const { issuer } = socket.getPeerCertificate();
  const name = issuer?.CN ?? issuer?.O;
  return (Array.isArray(name) ? name[0] : name)?.slice(0, 128) ?? "nobody in particular";
}
