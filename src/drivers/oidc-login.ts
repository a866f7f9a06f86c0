/**
 * A person's login at an OpenID Connect provider, from a terminal: by a browser on this machine (authorization code with PKCE, RFC 7636 and
 * RFC 8252), or on any other (device authorization, RFC 8628). What comes back is an ID token for `nonce`.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  discovery,
  initiateDeviceAuthorization,
  None,
  pollDeviceAuthorizationGrant,
  randomPKCECodeVerifier,
  randomState,
} from "openid-client";
import { StarlingError } from "../errors.ts";

export interface OidcLogin {
  /** The provider's issuer URL: `https://`, or `http://` on loopback. */
  readonly issuer: string;
  /** Our client id there: a public client. */
  readonly clientId: string;
  /** What the ID token must carry. */
  readonly nonce: string;
  /** Beyond `openid`: what makes the provider put the claim that decides into the token. Default `profile`. */
  readonly scope?: string;
  /** Tells the person where to go, and with a device which code to type. */
  readonly prompt: (url: string, code?: string) => void;
  readonly signal?: AbortSignal;
}

/** A login on whatever device the person has at hand. Throws `permission-denied` when it is refused, `timeout`, `aborted`. */
export function deviceLogin(login: OidcLogin): Promise<string> {
  return attempt(login, async (provider) => {
    const { nonce, prompt, signal } = login;
    const device = await initiateDeviceAuthorization(provider, { scope: scopeOf(login), nonce });
    prompt(device.verification_uri_complete ?? device.verification_uri, device.user_code);
    const tokens = await pollDeviceAuthorizationGrant(provider, device, undefined, signal && { signal });
    return tokens.id_token;
  });
}

/** A login in a browser on this machine, which comes back to a port on loopback. Throws as {@link deviceLogin}. */
export function browserLogin(login: OidcLogin): Promise<string> {
  return attempt(login, async (provider) => {
    const { nonce, prompt, signal } = login;
    const verifier = randomPKCECodeVerifier();
    const state = randomState();
    const answer = Promise.withResolvers<URL>();
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "/", redirect);
      const isAnswer = url.pathname === "/callback";
      response.writeHead(isAnswer ? 200 : 404, { "content-type": "text/plain; charset=utf-8", connection: "close" });
      response.end(isAnswer ? "You can close this page and go back to the terminal.\n" : "");
      if (isAnswer) answer.resolve(url);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const redirect = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`;
    const abort = (): void => answer.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const challenge = await calculatePKCECodeChallenge(verifier);
      const parameters = {
        redirect_uri: redirect,
        scope: scopeOf(login),
        code_challenge: challenge,
        code_challenge_method: "S256",
        state,
        nonce,
      };
      prompt(buildAuthorizationUrl(provider, parameters).href);
      const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
      return (await authorizationCodeGrant(provider, await answer.promise, checks)).id_token;
    } finally {
      signal?.removeEventListener("abort", abort);
      server.close();
      server.closeAllConnections();
    }
  });
}

async function attempt(
  { issuer, clientId, signal }: OidcLogin,
  ask: (provider: Configuration) => Promise<string | undefined>,
): Promise<string> {
  try {
    const url = new URL(issuer);
    const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
    const insecure = url.protocol === "http:" && isLoopback ? { execute: [allowInsecureRequests] } : undefined;
    const provider = await discovery(url, clientId, undefined, None(), insecure);
    const token = await ask(provider);
    if (token !== undefined) return token;
    throw new StarlingError("permission-denied", `${issuer} has given no ID token; its client needs the scope openid`);
  } catch (cause) {
    if (cause instanceof StarlingError) throw cause;
    if (signal?.aborted) throw new StarlingError("aborted", "the login was cancelled", { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StarlingError("permission-denied", `the login at ${issuer} failed: ${why}`, { cause });
  }
}

function scopeOf({ scope }: OidcLogin): string {
  return `openid ${scope ?? "profile"}`;
}
