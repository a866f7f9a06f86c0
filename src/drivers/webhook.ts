/**
 * Tells one HTTP endpoint: each message a POST of JSON, signed.
 *
 * An address that an operator types by mistake, or a name that somebody else points elsewhere, must not make an agent speak to the
 * inside of a network: the name is looked up for each delivery, every address that it has must be one that `mayReach` allows, and the
 * connection goes to the very address that was checked (no second look-up, so no DNS rebinding). Redirects are not followed. A target on
 * loopback or in a private network is allowed by its name only.
 *
 *     starling-signature: t=UNIX_SECONDS,v1=HEX        HMAC-SHA256 under the shared secret over "UNIX_SECONDS.BODY"
 */
import { createHmac } from "node:crypto";
import { lookup } from "node:dns/promises";
import { type RequestOptions, request as requestPlain } from "node:http";
import { request as requestSecure } from "node:https";
import { isIP } from "node:net";
import { StarlingError } from "../errors.ts";

export interface WebhookOptions {
  /** `https:`; also `http:` where its host is in `allow`. */
  readonly url: string;
  /** The receiver has the same; at least 16 bytes. */
  readonly secret: Uint8Array;
  /** Hosts, as in the URL, that may be on loopback or in a private network. */
  readonly allow?: readonly string[];
  /** Whether an address, as text, is one to speak to; not asked where the host is allowed by name. */
  readonly mayReach: (address: string) => boolean;
  /** Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  readonly now: () => number;
}

/** How a delivery ended. `refused`: heard, and would be refused again. `forbidden`: the target is not one to speak to. */
export type Delivery = "delivered" | "refused" | "unreachable" | "forbidden";

export interface Webhook {
  /** The host, for people. */
  readonly host: string;
  /** Sends one message. Never rejects. */
  deliver(body: string): Promise<Delivery>;
}

/** From the first byte to the answer, ms. */
const TIMEOUT_MS = 10_000;
const LEAST_SECRET_BYTES = 16;

/** Checks the options; throws `config-invalid`. Contacts nobody. */
export function openWebhook(options: WebhookOptions): Webhook {
  const { secret, allow = [], mayReach, now } = options;
  const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new StarlingError("config-invalid", "the URL for alerts begins with https:// and has no user or password");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isAllowed = allow.some((name) => name.toLowerCase().replace(/^\[|\]$/g, "") === host);
  if (url.protocol === "http:" && !isAllowed)
    throw new StarlingError(
      "config-invalid",
      `alerts to ${host} would travel open: use https, or allow that host by name`,
    );
  if (secret.length < LEAST_SECRET_BYTES)
    throw new StarlingError("config-invalid", `the secret for alerts has at least ${LEAST_SECRET_BYTES} bytes`);
  const resolve = options.resolve ?? addressesOf;
  const send = url.protocol === "https:" ? requestSecure : requestPlain;
  return {
    host,
    async deliver(body) {
      const addresses = isIP(host) === 0 ? await resolve(host).catch(() => []) : [host];
      const [address] = addresses;
      if (address === undefined) return "unreachable";
      if (!isAllowed && !addresses.every(mayReach)) return "forbidden";
      const at = Math.floor(now() / 1_000);
      const signature = createHmac("sha256", secret).update(`${at}.${body}`).digest("hex");
      return post(send, url, address, body, {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "starling-signature": `t=${at},v1=${signature}`,
      });
    },
  };
}

async function addressesOf(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function post(
  send: typeof requestPlain,
  url: URL,
  address: string,
  body: string,
  headers: Readonly<Record<string, string | number>>,
): Promise<Delivery> {
  const family = isIP(address);
  const options: RequestOptions = {
    method: "POST",
    headers,
    agent: false,
    timeout: TIMEOUT_MS,
    signal: AbortSignal.timeout(TIMEOUT_MS),
    lookup: (_host, { all }, done) => (all ? done(null, [{ address, family }]) : done(null, address, family)),
  };
  return new Promise((resolve) => {
    const sent = send(url, options, (response) => {
      response.destroy();
      resolve(outcomeOf(response.statusCode ?? 0));
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => resolve("unreachable"));
    sent.end(body);
  });
}

/** 408, 425 and 429 ask to come again later, as do the server's own errors. */
function outcomeOf(status: number): Delivery {
  if (status >= 200 && status < 300) return "delivered";
  return status >= 300 && status < 500 && ![408, 425, 429].includes(status) ? "refused" : "unreachable";
}
