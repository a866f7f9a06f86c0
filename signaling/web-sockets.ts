import type { IncomingMessage } from "node:http";
import { type ServerOptions, WebSocketServer } from "ws";
import { fromBase64url } from "../src/proto/base64.ts";
import { signalingLimits } from "../src/proto/signaling/limits.ts";
import { HELLO_HEADER, HELLO_TAKEN } from "../src/proto/signaling/messages.ts";
import { TICKET_HEADER, TICKETS_OFFERED } from "../src/proto/signaling/resumption.ts";

/** How `ws` is set up for strangers, and what a request may bring along: a hello, and with that what is needed to come back. */

/** How long the closing handshake may take before the socket is destroyed, ms. */
const CLOSE_TIMEOUT_MS = 1_000;

/** A hello in base64url, characters: one of full size has 560. A longer header is not looked at. */
const MAX_HELLO_LENGTH = 1_024;

/** The same of a resumption: two thirds are left of the head for the rest. */
const MAX_RESUMPTION_LENGTH = Math.ceil((signalingLimits.resumptionBytes * 4) / 3);

const OPTIONS: ServerOptions & { readonly closeTimeout: number; readonly autoPong: boolean } = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  // Answered by way of the machine, which counts them.
  autoPong: false,
  // One message of a connection in a turn of the event loop: what twenty flooders have sent would hold it for 80 ms at a time.
  allowSynchronousEvents: false,
  maxPayload: signalingLimits.clientMessageBytes,
  // A message that comes in more pieces than a bad path cuts it into is an attack on memory.
  maxFragments: 64,
  maxBufferedChunks: 512,
  closeTimeout: CLOSE_TIMEOUT_MS,
};

/** What `ws` calls a message above `maxPayload`, and a frame above what a number can count. */
const OVERSIZE_ERRORS: ReadonlySet<unknown> = new Set([
  "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
  "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
]);

/** A WebSocket server without a socket of its own, which tells a request whose hello is taken that it is. */
export function webSockets(): WebSocketServer {
  const server = new WebSocketServer(OPTIONS);
  server.on("headers", (headers, request) => {
    if (TAKEN.has(request)) headers.push(`${HELLO_HEADER}: ${HELLO_TAKEN}`, `${TICKET_HEADER}: ${TICKETS_OFFERED}`);
  });
  return server;
}

/** The hello that a request brings along, unchecked; undefined where it brings none. */
export function helloIn(request: IncomingMessage): Uint8Array | undefined {
  const header = request.headers[HELLO_HEADER];
  if (typeof header !== "string" || header.length > MAX_HELLO_LENGTH) return undefined;
  const hello = fromBase64url(header);
  if (!hello?.length) return undefined;
  TAKEN.add(request);
  return hello;
}

/** Requests whose hello was taken: the answer says so. */
const TAKEN = new WeakSet<IncomingMessage>();

/** What a request brings along to come back with, unchecked; undefined where it brings none. */
export function resumptionIn(request: IncomingMessage): Uint8Array | undefined {
  const header = request.headers[TICKET_HEADER];
  if (typeof header !== "string" || header.length > MAX_RESUMPTION_LENGTH) return undefined;
  // A view that is no Buffer, whose `slice` differs. What it holds proves itself: it need not be canonical.
  const raw = Buffer.from(header, "base64url");
  return raw.length === 0 ? undefined : new Uint8Array(raw.buffer, raw.byteOffset, raw.length);
}

/** Whether a WebSocket failed because a message was larger than allowed. */
export function isOversize(error: Error): boolean {
  return "code" in error && OVERSIZE_ERRORS.has(error.code);
}
