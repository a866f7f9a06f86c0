/** What a server counts; every kind of bad input and every refusal has a name here. */
export const COUNTERS = [
  /** Binding requests answered. */
  "bindings",
  /** Requests answered with a nonce because they had none, or an old one. */
  "challenges",
  /** Answers not sent because their address has had more than its share of unverified ones. */
  "answersWithheld",
  /** Requests with wrong credentials: unknown user, wrong password, expired. */
  "unauthenticated",
  /** Error answers other than challenges. */
  "errors",
  /** Successful Allocate requests, and allocations that have ended. */
  "allocations",
  "allocationsEnded",
  /** Allocate requests refused because of a bound: of the user, or of the server. */
  "quotaReached",
  "capacityReached",
  "refreshes",
  "permissions",
  "channels",
  /** Peers refused by the policy. */
  "peersForbidden",
  /** Packets and bytes of payload relayed to peers and to clients. */
  "packetsToPeers",
  "bytesToPeers",
  "packetsToClients",
  "bytesToClients",
  /** Packets dropped: no permission or channel, over the bandwidth, or too large for DONT-FRAGMENT. */
  "packetsWithoutPermission",
  "packetsOverBandwidth",
  "packetsTooLarge",
  /** Datagrams and stream packets that are no message, or out of place. */
  "malformed",
  /** Well-formed messages that nobody answers: responses, indications of no allocation, unknown methods. */
  "ignored",
] as const;

export type Counter = (typeof COUNTERS)[number];

/** How often each has happened since the start. */
export type Counters = Record<Counter, number>;
