import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";
import { encodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import { loginBody } from "../../../src/proto/signaling/login.ts";
import type { ClientMessage, Malformed, ServerMessage } from "../../../src/proto/signaling/messages.ts";
import { decodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";
import { type Identity, memberToken } from "../../contract/signaling/authority.ts";

type Sendable = Exclude<ClientMessage, { type: "foreign-hello" }>;
type Challenge = Extract<ServerMessage, { type: "challenge" }>;

/** A WebSocket client without manners: the test decides what it says and when. */
export class RawClient {
  readonly socket: WebSocket;
  readonly heard: (ServerMessage | Malformed)[] = [];
  readonly closed: Promise<number>;
  #wake: (() => void) | undefined;

  constructor(port: number, localAddress = "127.0.0.1", headers: Readonly<Record<string, string>> = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}`, { localAddress, perMessageDeflate: false, headers });
    this.socket.on("message", (data) => {
      if (data instanceof Uint8Array) this.heard.push(decodeServerMessage(new Uint8Array(data)));
      this.#wake?.();
    });
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code) => {
        resolve(code);
        this.#wake?.();
      });
    });
  }

  async opened(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.socket.once("open", resolve);
      this.socket.once("close", () => resolve());
    });
    return this;
  }

  say(message: Sendable): void {
    this.socket.send(encodeClientMessage(message));
  }

  /** The next message; undefined when the connection ends before one comes. */
  async next(): Promise<ServerMessage | Malformed | undefined> {
    while (this.heard.length === 0 && this.socket.readyState !== WebSocket.CLOSED) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.heard.shift();
  }

  async challenge(identity: Identity, serverName: string, cluster = "cluster-a"): Promise<Challenge> {
    const instance = new Uint8Array(16).fill(1);
    this.say({ type: "hello", cluster, peer: identity.peer, instance, serverName });
    const message = await this.next();
    if (message?.type !== "challenge") throw new Error(`no challenge but ${JSON.stringify(message)}`);
    return message;
  }

  /** Logs in with whatever the test wants to have signed. */
  async login(
    identity: Identity,
    signed: { readonly nonce: Uint8Array; readonly serverName: string; readonly cluster?: string },
  ): Promise<ServerMessage | Malformed | undefined> {
    const at = 1_700_000_000_000;
    const { nonce, serverName, cluster = "cluster-a" } = signed;
    const body = loginBody(cluster, identity.peer, { nonce, serverName, instance: new Uint8Array(16).fill(1), at });
    const signature = await identity.keys.sign("starling/login/1", body);
    const token = memberToken(identity.peer, "cluster-a", 9_000_000_000_000);
    this.say({ type: "login", at, signature, token });
    return this.next();
  }
}

/** A member that has logged in over a raw client. */
export async function joinRaw(port: number, identity: Identity, localAddress?: string): Promise<RawClient> {
  const client = await new RawClient(port, localAddress).opened();
  const { nonce, serverName } = await client.challenge(identity, `127.0.0.1:${port}`);
  const welcome = await client.login(identity, { nonce, serverName });
  if (welcome?.type !== "welcome") throw new Error(`no welcome but ${JSON.stringify(welcome)}`);
  return client;
}

/** A bare TCP connection. */
export async function tcp(
  port: number,
  localAddress = "127.0.0.1",
): Promise<{ readonly socket: Socket; readonly closed: Promise<void> }> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  socket.on("error", () => {});
  socket.resume();
  const closed = new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
  });
  await new Promise<void>((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", () => resolve());
  });
  return { socket, closed };
}

/** A TCP connection that has been upgraded by hand, to send frames that no library would. */
export async function upgraded(
  port: number,
  localAddress = "127.0.0.1",
): Promise<{ readonly socket: Socket; readonly closed: Promise<void> }> {
  const bare = await tcp(port, localAddress);
  const answered = new Promise<void>((resolve) => {
    bare.socket.once("data", () => resolve());
    bare.socket.once("close", () => resolve());
  });
  bare.socket.write(UPGRADE);
  await answered;
  return bare;
}

const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: x",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "",
  "",
].join("\r\n");
