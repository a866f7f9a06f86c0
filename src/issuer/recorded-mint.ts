import { recordMinted } from "../drivers/state/minted-tokens.ts";
import { lineageOf } from "../proto/trust/claims.ts";
import { type Mint, type MintOptions, openMint } from "./mint.ts";

/** The mint of a key file, with every token that it makes written down beside the key before it is given away (`starling token list`). */
export async function openRecordedMint(options: MintOptions): Promise<Mint> {
  const mint = await openMint(options);
  const { keyFile } = options;
  return {
    kid: mint.kid,
    signDesk: (desk) => mint.signDesk(desk),
    decree: (kind, body) => mint.decree(kind, body),
    async issueJoinToken(request, now) {
      const issued = await mint.issueJoinToken(request, now);
      if (issued.ok) await recordMinted(keyFile, { kind: "join", ...issued.claims, kid: mint.kid }, now);
      return issued;
    },
    async issueMemberToken(request, now) {
      const issued = await mint.issueMemberToken(request, now);
      if (!issued.ok) return issued;
      const { claims } = issued;
      await recordMinted(keyFile, { kind: "member", ...claims, lineage: lineageOf(claims), kid: mint.kid }, now);
      return issued;
    },
  };
}
