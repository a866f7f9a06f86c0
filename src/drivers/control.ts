/**
 * The control socket: how `starling status` and its siblings talk to the agent that runs on the same machine.
 *
 * A local socket in the state directory, mode 0600: whoever may read the node key may control the agent, nobody else. One
 * request a connection. Each line is one JSON object: `{command, parameters}` towards the agent; back come any number of
 * `{event}` lines and then exactly one `{result}` or `{error: {code, message}}`. Closing the connection cancels the request.
 */
import { createHash } from "node:crypto";
import { chmod, mkdir, rm } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { StarlingError } from "../errors.ts";

/** Longest request line, bytes: one value of a bucket in base64, and room to spare. */
const MAX_LINE_BYTES = 16 * 1_048_576;
/** Connections at a time; further ones are closed at once. */
const MAX_CONNECTIONS = 64;
/** Linux refuses longer socket paths (sockaddr_un holds 108 bytes), macOS ones over 104. */
const MAX_SOCKET_PATH_BYTES = 100;

/** Answers one command; `emit` sends an event line, `signal` aborts when the caller goes away. */
export type ControlHandler = (
  parameters: Readonly<Record<string, unknown>>,
  emit: (event: unknown) => void,
  signal: AbortSignal,
) => Promise<unknown>;

export interface ControlServer {
  close(): Promise<void>;
}

/** Where the agent of `stateDirectory` listens. Too long a path moves to a private folder under the system's temporary one. */
export function controlPath(stateDirectory: string): string {
  const digest = createHash("sha256").update(stateDirectory).digest("hex").slice(0, 16);
  if (process.platform === "win32") return `\\\\.\\pipe\\starling-${digest}`;
  const path = join(stateDirectory, "control.sock");
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return path;
  return join(tmpdir(), `starling-${process.getuid?.() ?? 0}-${digest}`, "control.sock");
}

/** Listens on the control socket of `stateDirectory`. The caller holds the directory's lock, so a socket left there is stale. */
export async function serveControl(
  stateDirectory: string,
  handlers: ReadonlyMap<string, ControlHandler>,
): Promise<ControlServer> {
  const path = controlPath(stateDirectory);
  if (process.platform !== "win32") {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await rm(path, { force: true });
  }
  const open = new Set<Socket>();
  const answering = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    serveConnection(socket, handlers, answering);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, path);
  if (process.platform !== "win32") await chmod(path, 0o600);
  return {
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      // Commands under way answer first, that of `down` above all.
      for (const socket of open) if (!answering.has(socket)) socket.end();
      const impatience = setTimeout(() => {
        for (const socket of open) socket.destroy();
      }, 500);
      await closed;
      clearTimeout(impatience);
    },
  };
}

// Between bind and chmod the socket would have the umask's mode: bind under a umask that grants nothing to others.
async function listen(server: Server, path: string): Promise<void> {
  const previous = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(previous);
  }
}

function serveConnection(socket: Socket, handlers: ReadonlyMap<string, ControlHandler>, answering: Set<Socket>): void {
  const gone = new AbortController();
  socket.on("close", () => gone.abort());
  socket.on("error", () => socket.destroy());
  const say = (line: unknown): void => {
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
  };
  readLines(socket, (line, tooLong) => {
    socket.removeAllListeners("data");
    const request = tooLong ? undefined : parseControlRequest(line);
    const handler = request && handlers.get(request.command);
    if (!request || !handler) {
      const message = request ? `unknown command ${JSON.stringify(request.command)}` : "not a control request";
      say({ error: { code: "usage", message } });
      socket.end();
      return;
    }
    answering.add(socket);
    handler(request.parameters, (event) => say({ event }), gone.signal)
      .then(
        (result) => say({ result: result ?? null }),
        (error: unknown) => say({ error: describe(error) }),
      )
      .finally(() => {
        answering.delete(socket);
        socket.end();
      });
  });
}

function describe(error: unknown): { code: string; message: string } {
  if (error instanceof StarlingError) return { code: error.code, message: error.message };
  return { code: "internal", message: error instanceof Error ? error.message : String(error) };
}

/** What a request line asks; undefined when it is none. Never throws. */
export function parseControlRequest(
  line: string,
): { command: string; parameters: Readonly<Record<string, unknown>> } | undefined {
  try {
    const request: unknown = JSON.parse(line);
    if (typeof request !== "object" || request === null) return undefined;
    const { command, parameters = {} } = request as { command?: unknown; parameters?: unknown };
    if (typeof command !== "string" || typeof parameters !== "object" || parameters === null) return undefined;
    return { command, parameters: parameters as Readonly<Record<string, unknown>> };
  } catch {
    return undefined;
  }
}

function readLines(socket: Socket, onLine: (line: string, tooLong: boolean) => void): void {
  let chunks: Buffer[] = [];
  let length = 0;
  socket.on("data", (chunk: Buffer) => {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      chunks.push(rest.subarray(0, end));
      const line = Buffer.concat(chunks).toString("utf8");
      chunks = [];
      length = 0;
      rest = rest.subarray(end + 1);
      onLine(line, false);
    }
    chunks.push(rest);
    length += rest.length;
    if (length > MAX_LINE_BYTES) {
      chunks = [];
      length = 0;
      onLine("", true);
    }
  });
}

/**
 * Sends one command to the agent of `stateDirectory` and returns its result. `onEvent` gets what it emits before that.
 * Rejects with `not-running` when no agent listens there, and with the agent's own error otherwise.
 */
export function callControl(
  stateDirectory: string,
  command: string,
  parameters: Readonly<Record<string, unknown>>,
  options: { readonly onEvent?: (event: unknown) => void; readonly signal?: AbortSignal } = {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(controlPath(stateDirectory));
    const cancel = (): void => {
      socket.destroy();
      reject(new StarlingError("closed", "cancelled"));
    };
    options.signal?.addEventListener("abort", cancel, { once: true });
    socket.on("error", (cause) => {
      const hint = `no agent is running for ${stateDirectory}; start one with: starling up --state ${stateDirectory}`;
      reject(new StarlingError("not-running", hint, { cause }));
    });
    socket.on("close", () => {
      options.signal?.removeEventListener("abort", cancel);
      reject(new StarlingError("closed", "the agent went away before it answered"));
    });
    socket.on("connect", () => socket.write(`${JSON.stringify({ command, parameters })}\n`));
    readLines(socket, (line, tooLong) => {
      if (tooLong) {
        socket.destroy();
        reject(new StarlingError("internal", "the agent's answer is longer than a line may be"));
        return;
      }
      const answer = JSON.parse(line) as {
        event?: unknown;
        result?: unknown;
        error?: { code: string; message: string };
      };
      if (answer.event !== undefined) options.onEvent?.(answer.event);
      else if (answer.error) reject(StarlingError.of(answer.error.code, answer.error.message));
      else resolve(answer.result);
    });
  });
}
