import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { createCluster } from "../../src/drivers/state/create-cluster.ts";
import { readSigningKeyFile } from "../../src/drivers/state/key-file.ts";
import { issuersOf, type Mint, openMint } from "../../src/issuer/mint.ts";
import { type PeerId, publicKeyOf } from "../../src/proto/peer-id.ts";
import { loginBody } from "../../src/proto/signaling/login.ts";
import type { Malformed, ServerMessage } from "../../src/proto/signaling/messages.ts";
import type { Cluster } from "../../src/proto/trust/cluster.ts";
import type { NodeIdentity, SigningKey } from "../../src/proto/trust/crypto.ts";
import { RawClient } from "../integration/signaling/raw-client.ts";
import type { Measure } from "./target.ts";

export const crypto = nodeCrypto();

export type Answer = ServerMessage | Malformed | undefined;

/** A cluster, its signaling server in a process of its own, and hands that reach it. */
export class Field {
  readonly cluster: Cluster;
  readonly issuingKey: SigningKey;
  readonly mint: Mint;
  readonly port: number;
  readonly #folder: string;
  readonly #server: ChildProcess;
  #hands = 0;

  private constructor(parts: {
    readonly folder: string;
    readonly cluster: Cluster;
    readonly issuingKey: SigningKey;
    readonly mint: Mint;
    readonly server: ChildProcess;
    readonly port: number;
  }) {
    this.#folder = parts.folder;
    this.cluster = parts.cluster;
    this.issuingKey = parts.issuingKey;
    this.mint = parts.mint;
    this.#server = parts.server;
    this.port = parts.port;
  }

  static async open(): Promise<Field> {
    const folder = await mkdtemp(join(tmpdir(), "starling-field-"));
    const { cluster, issuingKeyFile } = await createCluster(folder, {}, crypto);
    const issuers = issuersOf(cluster, crypto);
    const { clusterId } = cluster;
    const mint = await openMint({ keyFile: issuingKeyFile, clusterId, issuers: () => issuers, crypto });
    const issuingKey = (await readSigningKeyFile(issuingKeyFile, crypto)) as SigningKey;
    const server = fork(join(import.meta.dirname, "target.ts"), [folder, issuingKeyFile], {
      execArgv: ["--expose-gc"],
      serialization: "advanced",
    });
    const { port } = await heard<{ port: number }>(server);
    return new Field({ folder, cluster, issuingKey, mint, server, port });
  }

  get serverName(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What the server has counted, and what it cost since this was last asked. Rejects when the server has died. */
  measure(): Promise<Measure> {
    const measure = heard<Measure>(this.#server);
    this.#server.send("measure");
    return measure;
  }

  identity(): NodeIdentity {
    return crypto.nodeIdentity(crypto.generateNodeKey());
  }

  async token(subject: PeerId): Promise<string> {
    const issued = await this.mint.issueMemberToken({ subject }, Date.now());
    if (!issued.ok) throw new Error(issued.fault);
    return issued.token;
  }

  /** An address of its own for each attacker: what one loses by its attack, the next has not. */
  address(): string {
    const hand = ++this.#hands;
    return `127.${1 + (hand % 250)}.${(hand >> 8) % 256}.${1 + (hand % 254)}`;
  }

  /** A connection that has said nothing yet. */
  stranger(address = this.address(), headers: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    return new RawClient(this.port, address, headers).opened();
  }

  /** Says hello as `peer`, signs as `identity`, shows `token`; the client and what the server answers. */
  async login(
    identity: NodeIdentity,
    token: string,
    peer = identity.id,
  ): Promise<{ readonly client: RawClient; readonly answer: Answer }> {
    const client = await this.stranger();
    const { clusterId } = this.cluster;
    const instance = new Uint8Array(16).fill(1);
    client.say({ type: "hello", cluster: clusterId, peer, instance, serverName: this.serverName });
    const challenge = await client.next();
    if (challenge?.type !== "challenge") return { client, answer: challenge };
    const at = Date.now();
    const { nonce, serverName } = challenge;
    const body = loginBody(clusterId, peer, { nonce, serverName, instance, at });
    client.say({ type: "login", at, signature: identity.sign("starling/login/1", body), token });
    return { client, answer: await client.next() };
  }

  /** A member that is logged in. */
  async member(identity = this.identity()): Promise<RawClient> {
    const { client, answer } = await this.login(identity, await this.token(identity.id));
    if (answer?.type !== "welcome") throw new Error(`no welcome but ${JSON.stringify(answer)}`);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.disconnect();
    await new Promise((resolve) => this.#server.once("exit", resolve));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function heard<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (): void => reject(new Error("the server has died"));
    child.once("exit", died);
    child.once("message", (message) => {
      child.off("exit", died);
      resolve(message as T);
    });
  });
}

/** Two members that talk through the server all the while, and must not notice a thing. */
export class HonestPair {
  readonly #sender: RawClient;
  readonly #reader: RawClient;
  readonly #to: PeerId;
  #sent = 0;
  #stopped = false;
  readonly #talking: Promise<void>;

  static async among(field: Field): Promise<HonestPair> {
    const reader = field.identity();
    return new HonestPair(await field.member(), await field.member(reader), reader.id);
  }

  private constructor(sender: RawClient, reader: RawClient, to: PeerId) {
    this.#sender = sender;
    this.#reader = reader;
    this.#to = to;
    this.#talking = this.#talk();
  }

  async #talk(): Promise<void> {
    while (!this.#stopped) {
      const id = ++this.#sent;
      this.#sender.say({ type: "signal", to: this.#to, bytes: Buffer.from(String(id)), id });
      const message = await this.#reader.next();
      const said = message?.type === "signal" ? Buffer.from(message.bytes).toString() : JSON.stringify(message);
      if (said !== String(id)) throw new Error(`an honest member sent ${id} and the other heard ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** How many signals went there in order; rejects if one did not. */
  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#talking;
    this.#sender.socket.terminate();
    this.#reader.socket.terminate();
    return this.#sent;
  }
}

/** The key of a PeerId as the wire has it. */
export { publicKeyOf };
