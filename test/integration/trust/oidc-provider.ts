import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Provider from "oidc-provider";

/** A real OpenID Connect provider on loopback, at which whoever comes is logged in as the person that the test names. */
export class Identity {
  readonly issuer: string;
  /** Who the next visitor is, and in which groups. */
  person = "alice";
  groups: readonly string[] = ["operators"];
  readonly #server: Server;

  private constructor(issuer: string, server: Server) {
    this.issuer = issuer;
    this.#server = server;
  }

  static async open(clientId: string): Promise<Identity> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const identity = new Identity(issuer, server);
    const provider = new Provider(issuer, {
      clients: [
        {
          client_id: clientId,
          application_type: "native",
          token_endpoint_auth_method: "none",
          grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
          response_types: ["code"],
          redirect_uris: ["http://127.0.0.1/callback"],
        },
      ],
      cookies: { keys: ["a key of the test"] },
      claims: { openid: ["sub"], profile: ["groups"] },
      // The groups are in the ID token itself, and not only at the userinfo endpoint.
      conformIdTokenClaims: false,
      features: { deviceFlow: { enabled: true }, devInteractions: { enabled: false } },
      interactions: { url: (_context: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}` },
      findAccount: (_context: unknown, id: string) => ({
        accountId: id,
        claims: async () => ({ sub: id, groups: identity.groups }),
      }),
      loadExistingGrant: async ({ oidc }) => {
        const grant = new provider.Grant({ clientId, accountId: oidc.session?.accountId ?? "" });
        grant.addOIDCScope("openid profile");
        await grant.save();
        return grant;
      },
    });
    const answer = provider.callback();
    server.on("request", (request, response) => {
      if (!request.url?.startsWith("/interaction/")) return answer(request, response);
      return provider.interactionFinished(request, response, { login: { accountId: identity.person }, consent: {} });
    });
    return identity;
  }

  /** What a browser does with a URL: follows every redirect and keeps cookies, up to one that `stop` fits; its last page. */
  async visit(start: string, stop: (url: string) => boolean = () => false): Promise<{ url: string; page: string }> {
    const browser = new Browser();
    let page = await browser.go(start, undefined, stop);
    // The page of a device asks for confirmation, with a token of its own in the form.
    for (let forms = 0; forms < 3 && page.page.includes("<form"); forms++) {
      const action = /action="([^"]+)"/.exec(page.page)?.[1] ?? "";
      const fields = new URLSearchParams();
      for (const [input] of page.page.matchAll(/<input[^>]*>/g)) {
        const name = /name="([^"]+)"/.exec(input)?.[1];
        const value = /value="([^"]*)"/.exec(input)?.[1];
        if (name !== undefined) fields.set(name, value ?? new URL(start).searchParams.get(name) ?? "");
      }
      if (!fields.has("confirm") && /name="confirm"/.test(page.page)) fields.set("confirm", "yes");
      page = await browser.go(new URL(action, page.url).href, fields, stop);
    }
    return page;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

class Browser {
  readonly #cookies = new Map<string, string>();

  async go(start: string, form: URLSearchParams | undefined, stop: (url: string) => boolean) {
    let url = start;
    let body = form;
    for (let hops = 0; hops < 12; hops++) {
      const response = await fetch(url, {
        redirect: "manual",
        headers: { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
        ...(body && { method: "POST", body }),
      });
      for (const cookie of response.headers.getSetCookie()) {
        const [pair = ""] = cookie.split(";");
        this.#cookies.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
      }
      const location = response.headers.get("location");
      if (location === null) return { url, page: await response.text() };
      url = new URL(location, url).href;
      body = undefined;
      if (stop(url)) return { url, page: await (await fetch(url)).text() };
    }
    throw new Error("redirected without end");
  }
}
