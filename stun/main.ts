import { readFile } from "node:fs/promises";
import { readPrivateText } from "../src/drivers/state/private-files.ts";
import { StarlingError } from "../src/errors.ts";
import { defaultRelayAddresses, parseListenAddress, STUN_PORT, STUNS_PORT } from "./listen-address.ts";
import type { Credentials, StaticUser } from "./proto/credentials.ts";
import type { TurnLimits } from "./proto/limits.ts";
import { wireLimits } from "./proto/limits.ts";
import { readSecrets, watchSecrets } from "./secrets-file.ts";
import { DEFAULT_PORTS, type StunEvent, type StunServer, startStunServer } from "./server.ts";
import type { TlsIdentity } from "./streams.ts";

/** What a person says who runs the server: addresses and ranges as text, secrets in files. */
export interface StunServiceOptions {
  /** `address:port`, UDP and TCP; the port defaults to 3478. */
  readonly listen: readonly string[];
  /** `address:port`, TLS; the port defaults to 5349. */
  readonly tlsListen?: readonly string[];
  /** Files, PEM. */
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** `address:port` for behaviour discovery. */
  readonly alternate?: string;
  readonly realm: string;
  readonly users?: readonly StaticUser[];
  /** A private file with a line `NAME:PASSWORD` for each user. */
  readonly userFile?: string;
  /** A private file with the secrets of time-limited credentials (`secrets-file.ts`), read again when it changes. */
  readonly secretFile?: string;
  /** Default: see {@link defaultRelayAddresses}. */
  readonly relayAddress?: readonly string[];
  readonly externalAddress?: readonly string[];
  readonly minPort?: number;
  readonly maxPort?: number;
  readonly allowPeer?: readonly string[];
  readonly denyPeer?: readonly string[];
  readonly limits?: Partial<TurnLimits>;
  readonly onEvent?: (event: StunEvent) => void;
  /** Hears why the file of secrets cannot be read again; what was read last stays in use. */
  readonly onTrouble?: (message: string) => void;
}

/** A running server with what it was started with. */
export interface StunService {
  readonly server: StunServer;
  readonly relayAddresses: readonly string[];
  /** Nobody can have an allocation: there are no credentials. */
  readonly isStunOnly: boolean;
}

/** Reads the files and starts the server; throws `usage`, `key-file-permissions` or what the system says of a socket. */
export async function startStunService(options: StunServiceOptions): Promise<StunService> {
  const listen = options.listen.map((text) => parseListenAddress(text, STUN_PORT));
  const tlsListen = (options.tlsListen ?? []).map((text) => parseListenAddress(text, STUNS_PORT));
  const relayAddresses = options.relayAddress?.length
    ? options.relayAddress
    : defaultRelayAddresses([...listen, ...tlsListen]);
  const credentials = await readCredentials(options);
  const tls = await readIdentity(options);
  const { externalAddress, allowPeer, denyPeer, limits, onEvent } = options;
  checkRealm(options.realm);
  const server = await startStunServer({
    listen,
    tlsListen,
    ...(tls && { tls }),
    ...(options.alternate !== undefined && { alternate: parseListenAddress(options.alternate, STUN_PORT + 1) }),
    realm: options.realm,
    credentials,
    relayAddresses,
    ...(externalAddress && { externalAddresses: externalAddress }),
    ports: portsOf(options),
    ...(allowPeer && { allowPeers: allowPeer }),
    ...(denyPeer && { denyPeers: denyPeer }),
    ...(limits && { limits }),
    ...(onEvent && { onEvent }),
  }).catch((error: unknown) => {
    throw socketError(error);
  });
  const { secretFile, onTrouble = () => undefined } = options;
  if (secretFile !== undefined) {
    const use = (secrets: readonly string[]): void => server.use({ users: credentials.users, secrets });
    const stop = watchSecrets(secretFile, credentials.secrets, use, onTrouble);
    const close = server.close.bind(server);
    const stopAndClose = (): Promise<void> => {
      stop();
      return close();
    };
    Object.assign(server, { close: stopAndClose, [Symbol.asyncDispose]: stopAndClose });
  }
  return { server, relayAddresses, isStunOnly: credentials.users.length + credentials.secrets.length === 0 };
}

/** Reads `NAME:PASSWORD`; throws `usage` that does not repeat the password. */
export function parseUser(text: string, where: string): StaticUser {
  const colon = text.indexOf(":");
  const [name, password] = [text.slice(0, colon), text.slice(colon + 1)];
  if (colon < 1 || password === "") throw new StarlingError("usage", `${where}: a user is written NAME:PASSWORD`);
  if (Buffer.byteLength(name) > wireLimits.usernameBytes)
    throw new StarlingError("usage", `${where}: the name is too long`);
  return { name, password };
}

/** A file of users, bytes. */
const MAX_FILE_BYTES = 1_048_576;

async function readCredentials({ users = [], userFile, secretFile }: StunServiceOptions): Promise<Credentials> {
  const lines = userFile === undefined ? [] : await linesOf(userFile);
  const fromFile = lines.map((line, index) => parseUser(line, `${userFile}, user ${index + 1}`));
  return {
    users: [...users, ...fromFile],
    secrets: secretFile === undefined ? [] : await readSecrets(secretFile, Date.now()),
  };
}

/** Lines that are neither empty nor a comment. */
async function linesOf(file: string): Promise<string[]> {
  const text = await readPrivateText(file, MAX_FILE_BYTES);
  if (text === undefined) throw new StarlingError("not-found", `there is no file ${file}`);
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

async function readIdentity({ tlsListen = [], tlsCert, tlsKey }: StunServiceOptions): Promise<TlsIdentity | undefined> {
  if (tlsCert === undefined && tlsKey === undefined && tlsListen.length === 0) return undefined;
  if (tlsCert === undefined || tlsKey === undefined || tlsListen.length === 0)
    throw new StarlingError("usage", "--tls-listen, --tls-cert and --tls-key go together");
  const [cert, key] = await Promise.all([tlsCert, tlsKey].map(readPem));
  if (cert === undefined || key === undefined) throw new StarlingError("usage", "TLS needs a certificate and its key");
  return { cert, key };
}

async function readPem(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: unknown) => {
    throw new StarlingError("not-found", `cannot read ${file}`, { cause });
  });
}

function portsOf({ minPort, maxPort }: StunServiceOptions): { first: number; last: number } {
  const first = minPort ?? Math.min(DEFAULT_PORTS.first, maxPort ?? DEFAULT_PORTS.first);
  const last = maxPort ?? DEFAULT_PORTS.last;
  if (first < 1_024 || last > 65_535 || first > last)
    throw new StarlingError("usage", "relay ports lie between 1024 and 65535, the lowest before the highest");
  return { first, last };
}

function checkRealm(realm: string): void {
  if (realm === "" || Buffer.byteLength(realm) > wireLimits.realmBytes)
    throw new StarlingError("usage", `a realm has 1 to ${wireLimits.realmBytes} bytes`);
}

function socketError(error: unknown): unknown {
  if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) return error;
  const address = "address" in error ? String(error.address) : "";
  const port = "port" in error ? `:${String(error.port)}` : "";
  const hint =
    error.code === "EADDRINUSE"
      ? "something else listens there: choose another port"
      : error.code === "EADDRNOTAVAIL"
        ? "it is no address of this host"
        : "check the address";
  const message = `cannot listen on ${address}${port} (${String(error.code)}); ${hint}`;
  return new StarlingError("usage", message, { cause: error });
}
