import { BUCKETS, MAX_DECREE_BYTES } from "../decrees/limits.ts";
import { MAX_TOKEN_LENGTH } from "../limits.ts";
import { MAX_DESK_BYTES } from "../trust/desk.ts";
import { MAX_REQUEST_BYTES } from "../trust/exchange.ts";
import { MAX_SHOWING_LENGTH } from "../trust/showing.ts";

/** Bounds of the signaling protocol that both sides enforce; the server's own bounds stand in `signaling/proto/limits.ts`. */
export const signalingLimits = {
  /** Protocol versions in one hello. Room for many more than will ever be spoken at a time. */
  versions: 8,
  /** A cluster's id, characters: twice what is used. */
  clusterIdLength: 64,
  /** A server's name (`host` or `host:port`), characters: DNS allows 253, and 6 for the port. */
  serverNameLength: 259,
  /** A token, characters. */
  tokenLength: MAX_TOKEN_LENGTH,
  /** A token as it is shown for a renewal, characters. */
  showingLength: MAX_SHOWING_LENGTH,
  /** The nonce of a challenge, bytes: never repeats by chance. */
  nonceBytes: 32,
  /** What tells one run of an agent from the next, bytes: never repeats by chance. */
  instanceBytes: 16,
  /** A signed member record, bytes: a token of 4 KiB, 32 labels, and room. */
  recordBytes: 8_192,
  /** Records in one introduction: more than a newcomer can dial at once. */
  introductions: 16,
  /** A sealed signal, bytes: the largest SDP four times over. */
  signalBytes: 65_536,
  /** The cluster's signed list of issuing keys, bytes: about 100 keys. */
  issuersBytes: 32_768,
  /** A signed desk, bytes. */
  deskBytes: MAX_DESK_BYTES,
  /** Desks in one challenge: an agent needs one, that of its token. */
  desks: 16,
  /** The name of an issuing key, characters. */
  kidLength: 16,
  /** A sealed request to a desk, and its answer, bytes. */
  exchangeBytes: MAX_REQUEST_BYTES,
  /** A ticket, bytes: what a token of usual scopes comes to, four times over. For more there is none. */
  ticketBytes: 1_536,
  /** A ticket with its time and proof, bytes: in base64url it shares the head of a request with the hello. */
  resumptionBytes: 1_600,
  /** Sums over the parts of the cluster's decrees, bytes. */
  sumsBytes: BUCKETS * 8,
  /** One decree, bytes, and how many travel in one message: 64 KiB of revocations. */
  decreeBytes: MAX_DECREE_BYTES,
  decrees: 240,
  /** Decrees that a server's own issuer has made, in one message: revocations of the last hours. */
  decreed: 16,
  /** The text that explains a refusal, characters: a sentence or two. */
  detailLength: 256,
  /** STUN and TURN servers in one grant. Every further server costs the agent candidates. */
  iceServers: 8,
  /** URLs of one STUN or TURN server. */
  iceUrls: 8,
  /** A URL, user name or credential of a TURN server, characters. */
  iceTextLength: 512,
  /** One message from a client, bytes: a signal of full size and its envelope. */
  clientMessageBytes: 66_560,
  /** One message from a client that has not logged in, bytes: a login with a token of full size. */
  loginMessageBytes: 8_192,
  /** One message from a server, bytes: a welcome in which everything is of full size. */
  serverMessageBytes: 262_144,
  /** How long a server may ask an agent to stay away, ms: a longer wait is taken for this one. */
  reconnectAfterMs: 60_000,
} as const;

/** What the scanner allows in a message of either side: nothing nests deeper than message, list, server, URLs. */
export const scanLimits = { depth: 4, items: 256 } as const;

/** Bounds of one client. */
export const clientLimits = {
  /** Until the WebSocket is open, ms: DNS, TCP and TLS with a lost packet each. */
  connectMs: 10_000,
  /** Until the challenge, ms. */
  greetMs: 5_000,
  /** From the challenge, or the end of an exchange, to the welcome, ms: the server gives its authority 10 s. */
  loginMs: 15_000,
  /** From the challenge to the answer of an issuer's desk, ms: the server gives it 10 s. */
  exchangeMs: 15_000,
  /** Silence after which the server is asked for its time, ms. */
  keepaliveMs: 6_000,
  /** Until it answers, ms. With `keepaliveMs`, a dead server is found out within 12 s. */
  answerMs: 6_000,
  /** The same when the network is in doubt, ms: a lost packet's time, so that signals have a way again before people notice. */
  doubtMs: 2_000,
  /** A connection that held this long is healthy: the next failure starts the back-off anew. */
  healthyMs: 30_000,
  /** How long to stay away after being fenced, ms: time to check the proof, so that two holders of one key do not fight. */
  fencedMs: 5_000,
  /** How long to stay away when another connection of this very agent took our place, ms. */
  duplicateMs: 60_000,
  /** From the moment that a ticket is wanted to the question for it, ms, at random: all come at once after an outage. */
  ticketSpreadMs: 10_000,
  /** How long after a question that was not answered the next follows, ms. */
  ticketRetryMs: 600_000,
  /** A change of the skew that is worth a word, ms. */
  skewStepMs: 100,
  /** Messages of one server, each 4 KiB as one more: above what all members of a large cluster send that dial at once. */
  inbound: { perSecond: 200, burst: 1_000 },
} as const;
