import { join } from "node:path";
import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { ISSUING_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { readSigningKeyFile } from "../drivers/state/key-file.ts";
import { readMinted } from "../drivers/state/minted-tokens.ts";
import { recallUseJournal, type UseJournal } from "../drivers/state/use-journal.ts";
import { StarlingError } from "../errors.ts";
import type { DecreeSet } from "../proto/decrees/decree-set.ts";
import type { Instant } from "../proto/machine.ts";
import type { IssuedToken } from "../proto/trust/issued.ts";
import { issuerOf, kidOf } from "../proto/trust/issuers.ts";
import type { MintedToken } from "../proto/trust/minted.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { readClusterOf, readDecreesOf } from "./invite.ts";
import { print, printJson, say, table } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";

/** One token of `starling token list --json`. Stable: fields are added, never renamed or removed. */
interface ListedToken {
  readonly id: string;
  readonly kind: "join" | "member";
  /** Whose it is; null for a join token. */
  readonly subject: string | null;
  readonly role: string;
  readonly scopes: readonly string[];
  /** Of a join token: how often it was exchanged, and how often it may be; null for a member token. */
  readonly uses: { readonly spent: number; readonly of: number } | null;
  readonly issuedAt: string;
  readonly expiresAt: string;
  readonly revoked: boolean;
  /** `used-up`: a join token without uses left. */
  readonly state: "valid" | "expired" | "revoked" | "used-up";
  /** Of a member token: the id of the first token of its line, which revokes all of it, and how often that was renewed. */
  readonly family: string | null;
  readonly generation: number | null;
  /** The name of the issuing key that signed it. */
  readonly issuedBy: string;
}

interface ListOptions {
  readonly issuingKey?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

/**
 * `starling token list`: what an issuing key has issued, and those that were in its file before it, from the records beside it; an issuer may
 * be running or not.
 */
export function tokenListCommand(token: Command): void {
  addStateFlag(
    token
      .command("list")
      .description("list the tokens that an issuing key has issued, the newest of each member's line"),
  )
    .option("--issuing-key <file>", "issuing key (default: issuing.key in the state directory)")
    .option("--all", "those that have expired or are used up, too")
    .option("--json", "print JSON")
    .action(async (options: ListOptions, command: Command) => {
      const stateDirectory = resolveStateDirectory(flagsOf(command).state);
      const keyFile = options.issuingKey ?? join(stateDirectory, ISSUING_KEY_FILE);
      const tokens = await listTokens(keyFile, command);
      const listed = options.all ? tokens : tokens.filter(({ state }) => state === "valid" || state === "revoked");
      if (options.json) printJson(listed);
      else print(table(HEADINGS, listed.map(cells)));
      if (listed.length < tokens.length) say(`${tokens.length - listed.length} more have ended: --all lists them`);
    });
}

const HEADINGS = ["ID", "KIND", "SUBJECT", "ROLE", "USES", "EXPIRES", "STATE", "SCOPES"];

function cells({ id, kind, subject, role, uses, expiresAt, state, scopes }: ListedToken): readonly string[] {
  const used = uses === null ? "-" : `${uses.spent}/${uses.of}`;
  return [id, kind, subject?.slice(0, 8) ?? "-", role, used, expiresAt, state, scopes.join(" ")];
}

async function listTokens(keyFile: string, command: Command): Promise<readonly ListedToken[]> {
  const crypto = nodeCrypto();
  const key = await readSigningKeyFile(keyFile, crypto);
  if (key === undefined) throw new StarlingError("not-found", `there is no issuing key at ${keyFile}; check the path`);
  const now = Date.now();
  const decrees = await readDecreesOf(await readClusterOf(command), command);
  const journal = await recallUseJournal(`${keyFile}.uses`);
  const terms = { kid: kidOf(key.publicKey), decrees, journal, now };
  return everyToken(await readMinted(keyFile), journal).map((token) => listed(token, terms));
}

/** What commands have made and what the issuer has; of a line of tokens the newest. By the time of issue. */
function everyToken(minted: readonly MintedToken[], journal: UseJournal): readonly MintedToken[] {
  const byName = new Map<string, MintedToken>();
  for (const token of minted) byName.set(nameOf(token), token);
  for (const token of journal.issued.list()) byName.set(token.lineage.family, { kind: "member", ...token });
  return [...byName.values()].sort((a, b) => issuedAtOf(a) - issuedAtOf(b));
}

function nameOf(token: MintedToken): string {
  return token.kind === "member" ? token.lineage.family : token.id;
}

function issuedAtOf(token: MintedToken): Instant {
  return token.kind === "member" ? token.lineage.issuedAt : token.issuedAt;
}

interface Terms {
  /** The key in the file: that of tokens whose key was not noted. */
  readonly kid: string;
  readonly decrees: DecreeSet;
  readonly journal: UseJournal;
  readonly now: Instant;
}

function listed(token: MintedToken, { decrees, journal, now, ...terms }: Terms): ListedToken {
  const { id, kind, role, scopes, expiresAt, kid = terms.kid } = token;
  const spent = journal.usesOf(id);
  const isWithdrawn = decrees.issuers !== undefined && issuerOf(decrees.issuers.list, kid) === undefined;
  const isVoid = isWithdrawn || decrees.voids({ ...token, kid }) || (kind === "member" && isEnded(token, journal));
  const isSpent = kind === "join" && spent >= token.uses;
  return {
    id,
    kind,
    subject: kind === "member" ? token.subject : null,
    role,
    scopes,
    uses: kind === "join" ? { spent, of: token.uses } : null,
    issuedAt: new Date(issuedAtOf(token)).toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
    revoked: isVoid,
    state: isVoid ? "revoked" : expiresAt <= now ? "expired" : isSpent ? "used-up" : "valid",
    family: kind === "member" ? token.lineage.family : null,
    generation: kind === "member" ? token.lineage.generation : null,
    issuedBy: kid,
  };
}

function isEnded({ subject, lineage }: IssuedToken, journal: UseJournal): boolean {
  return journal.isRevoked(subject) || journal.issued.isBroken(lineage.family);
}
