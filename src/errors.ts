/**
 * Failures of the environment, as opposed to bad input (an output of the machine that met it) and to our own bugs (an
 * assertion). Every one has a stable `code`, and a message that says what happened and what to do next. Messages carry no
 * secrets: they are printed, logged and sent over the control socket.
 */

/** Each code with its meaning. Stable: codes are added, never renamed; the message may change. */
const MEANINGS = {
  /** The caller's signal was aborted. */
  aborted: "the operation was cancelled",
  /** The state directory, or the files of a key, already hold what would be created. */
  "already-exists": "it exists already and is not overwritten",
  /** This machine's clock and the cluster's differ by more than the leeway. */
  "clock-skew": "the clock of this machine is wrong",
  /** The agent, session or stream has ended. */
  closed: "it has ended",
  /** `put` with a condition: the key's version is another one. */
  conflict: "the stored version is not the expected one",
  /** A configuration file or variable is not valid. */
  "config-invalid": "the configuration is not valid",
  /** No connection to a member; `stage` says how far it came. */
  "dial-failed": "a member cannot be reached",
  /** A newer session with the same node key has taken over. */
  "identity-in-use": "another agent runs with the same node key",
  /** A bug: nothing that a user did. */
  internal: "an error inside Starling",
  /** The invite is cut off, altered, of another version, or not an invite. */
  "invite-invalid": "the invite is not valid",
  /** The issuer refuses: use count reached, revoked, scope above its ceiling. The message says which. */
  "issuer-refused": "the issuer refuses the token",
  /** No issuer can be reached, so no token can be had. */
  "issuer-unreachable": "no issuer can be reached",
  /** A key file is readable by other users. */
  "key-file-permissions": "a key file is readable by others",
  /** A configured bound was reached. */
  "limit-reached": "a limit was reached",
  /** The state directory holds no cluster and no invite was given. */
  "no-cluster": "this agent belongs to no cluster yet",
  /** A key, member, bucket or service that does not exist. */
  "not-found": "not found",
  /** No agent runs for this state directory. */
  "not-running": "no agent is running",
  /** The token lacks the scope that the operation needs. */
  "permission-denied": "the token does not allow it",
  /** A key file is sealed, and the passphrase is missing or does not open it. */
  "passphrase-wrong": "the passphrase is missing or wrong",
  /** The other side refused or broke the protocol. */
  "peer-refused": "the other side refused",
  /** This member, or the one addressed, was revoked. */
  revoked: "the member was revoked",
  /** No WebRTC stack loads, or the one asked for does not. */
  "rtc-unavailable": "no WebRTC stack is available",
  /** The signaling server refused this agent. */
  "signaling-refused": "the signaling server refuses this agent",
  /** No signaling server can be reached. */
  "signaling-unreachable": "no signaling server can be reached",
  /** A file of the state directory is damaged. */
  "state-corrupt": "a file of the state directory is damaged",
  /** Another process holds the state directory. */
  "state-locked": "another process uses the state directory",
  /** A file of the state directory cannot be read or written. */
  "state-unavailable": "the state directory cannot be used",
  /** The store of values cannot be read or written. */
  "store-unavailable": "the store cannot be used",
  /** It took longer than allowed. */
  timeout: "it took too long",
  /** A token has expired, and where it matters its renewal grace too. */
  "token-expired": "the token has expired",
  /** A token that does not verify, or is for another cluster, purpose or node. */
  "token-invalid": "the token is not valid",
  /** The other side speaks no version that we do. */
  "version-mismatch": "the versions do not fit",
  /** A key that is published, low in entropy or of the wrong length. */
  "weak-key": "a key is not random",
  /** A command or option used wrongly. Exit code 2. */
  usage: "wrong use of a command or option",
} as const;

/** The closed union of codes. */
export type ErrorCode = keyof typeof MEANINGS;

/** How far a dial came before it failed. */
export type DialStage = "signaling" | "ice" | "dtls" | "channel" | "admission";

/** Optional parts of a {@link StarlingError}. */
export interface StarlingErrorOptions {
  /** What the system or a library reported. */
  readonly cause?: unknown;
  /** With `dial-failed`, `timeout` and `peer-refused`: where. */
  readonly stage?: DialStage;
  /** With `conflict`: the version that the key has; null: it has no value. */
  readonly found?: string | null;
}

/** A failure of the environment. Compare `code`, show `message`. */
export class StarlingError extends Error {
  override readonly name = "StarlingError";
  readonly code: ErrorCode;
  readonly stage?: DialStage;
  readonly found?: string | null;

  /** @param message one sentence on what happened, and what to do next; default: the code's general meaning. */
  constructor(code: ErrorCode, message: string = MEANINGS[code], options: StarlingErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    if (options.stage !== undefined) this.stage = options.stage;
    if (options.found !== undefined) this.found = options.found;
  }

  /** The error behind a code that came as text (control socket, remote agent); foreign codes become `internal`. */
  static of(code: string, message: string): StarlingError {
    return new StarlingError(isErrorCode(code) ? code : "internal", message);
  }
}

/** Whether `text` is one of the codes. */
function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(MEANINGS, text);
}
