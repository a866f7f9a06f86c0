import { describe, expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import {
  type IssuedToken,
  IssuedTokens,
  issuedLine,
  MAX_FAMILIES,
  parseIssuedLine,
} from "../../../src/proto/trust/issued.ts";
import { mintedLine, parseMintedLine } from "../../../src/proto/trust/minted.ts";

const NOW = 1_900_000_000_000;
const DAY = 86_400_000;
const idOf = (index: number): string => Buffer.from(String(index).padStart(16)).toString("base64url");
const subject = peerIdOf(new Uint8Array(32).fill(2));
const token = (family: number, generation = 0, fill = 7): IssuedToken => ({
  id: generation === 0 ? idOf(family) : idOf(family * 100_000 + generation),
  subject,
  scopes: ["mesh:join", "kv:*"],
  role: "member",
  expiresAt: NOW + DAY,
  lineage: { family: idOf(family), generation, refreshKey: new Uint8Array(32).fill(fill), issuedAt: NOW },
});

describe("what an issuer knows of its tokens", () => {
  test("names the key that signed each, reads what was written before keys were noted, and takes no other words there", () => {
    const kid = "abcdefghijklmn27";
    const line = issuedLine({ ...token(1), kid });
    expect(line.endsWith(` mesh:join,kv:* ${kid}`)).toBe(true);
    expect(parseIssuedLine(line)).toEqual({ ...token(1), kid });
    expect(parseIssuedLine(issuedLine(token(1)))).toEqual(token(1));
    const plain = issuedLine(token(1));
    for (const spoiled of [
      `${line} more`,
      line.slice(0, -1),
      `${line}a`,
      line.replace(kid, kid.toUpperCase()),
      `${plain} `,
    ])
      expect(parseIssuedLine(spoiled)).toBeUndefined();
    const times = { issuedAt: NOW, expiresAt: NOW + DAY };
    const join = { kind: "join", id: idOf(3), role: "node", scopes: ["relay"], uses: 2, ...times } as const;
    for (const one of [join, { ...join, kid }, { kind: "member", ...token(1), kid } as const])
      expect(parseMintedLine(mintedLine(one))).toEqual(one);
    expect(parseMintedLine(`${mintedLine(join)} nokey`)).toBeUndefined();
  });

  test("is the newest of each line, and is the same read back from its lines", () => {
    const issued = new IssuedTokens();
    for (const one of [token(1), token(2), token(1, 1), token(1, 2)]) issued.remember(one);
    issued.break(idOf(2), subject, NOW, NOW + DAY);
    const again = new IssuedTokens();
    for (const line of issued.lines()) expect(again.recall(line)).toBe(true);
    expect([...again.lines()]).toEqual([...issued.lines()]);
    expect(again.newest(idOf(1))).toEqual(token(1, 2).lineage);
    expect([...again.list()].map(({ id }) => id)).toEqual([token(2).id, token(1, 2).id]);
    expect(again.isBroken(idOf(2))).toBe(true);
    expect(again.isBroken(idOf(1))).toBe(false);
  });

  test("never goes back, whatever comes late", () => {
    const issued = new IssuedTokens();
    issued.advance(token(1, 5).lineage);
    issued.advance(token(1, 4).lineage);
    expect(issued.newest(idOf(1))?.generation).toBe(5);
  });

  test("is forgotten when a token could not even buy a renewal any more, and no sooner", () => {
    const issued = new IssuedTokens();
    issued.remember(token(1));
    issued.break(idOf(2), subject, NOW, NOW + DAY);
    expect(issued.forget(NOW + 8 * DAY + 59_999)).toBe(false);
    expect(issued.newest(idOf(1))).toBeDefined();
    expect(issued.isBroken(idOf(2))).toBe(true);
    expect(issued.forget(NOW + 8 * DAY + 60_000)).toBe(true);
    expect(issued.newest(idOf(1))).toBeUndefined();
    expect(issued.isBroken(idOf(2))).toBe(false);
    expect([...issued.lines()]).toEqual([]);
  });

  test("is bounded: beyond, the line that was renewed longest ago is forgotten", () => {
    const issued = new IssuedTokens();
    for (let index = 0; index < MAX_FAMILIES; index++) issued.remember(token(index));
    issued.remember(token(0, 1));
    issued.remember(token(MAX_FAMILIES));
    expect([...issued.list()]).toHaveLength(MAX_FAMILIES);
    expect(issued.newest(idOf(0))?.generation).toBe(1);
    expect(issued.newest(idOf(1))).toBeUndefined();
  });

  test("comes from no line that is damaged", () => {
    const issued = new IssuedTokens();
    const fields = issuedLine(token(1, 1)).split(" ");
    for (const at of fields.keys()) {
      for (const wrong of ["", "~", "-1", "x".repeat(22)]) {
        const line = fields.map((field, index) => (index === at ? wrong : field)).join(" ");
        // Roles and scopes are free words: some of these are good ones.
        if ((at === 8 && /^[x-]/.test(wrong)) || (at === 9 && wrong.startsWith("x"))) continue;
        expect(issued.recall(line), line).toBe(false);
      }
    }
    expect(issued.recall(`${fields.join(" ")} more`)).toBe(false);
    expect(issued.recall(`broken ${idOf(1)} ${subject} ${NOW} x`)).toBe(false);
  });
});
