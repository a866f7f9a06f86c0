import fc from "fast-check";
import { expect, test } from "vitest";
import { base64url, fromBase64, fromBase64url } from "../../../src/proto/base64.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import {
  describeInviteFault,
  encodeInvite,
  type Invite,
  type InviteFault,
  MAX_INVITE_LENGTH,
  parseInvite,
} from "../../../src/proto/trust/invite.ts";
import { decode, encode, type WireValue } from "../../../src/proto/wire/codec.ts";
import { cluster } from "./cluster-lab.ts";

const invite: Invite = { cluster, token: { kind: "join", text: "header.payload.signature" } };
const text = encodeInvite(invite);
const faultOf = (pasted: string): InviteFault | "ok" => {
  const result = parseInvite(pasted);
  return result.ok ? "ok" : result.fault;
};

/** An invite whose body was changed by somebody who knows the format: the checksum fits. */
function forged(change: (fields: WireValue[]) => void): string {
  const decoded = decode(fromBase64url(text.slice(18)) as Uint8Array, { depth: 8, items: 1_000 });
  const fields = [...((decoded.ok ? decoded.value : []) as WireValue[])];
  change(fields);
  return wrapped(encode(fields));
}

function wrapped(body: Uint8Array): string {
  const header = new Uint8Array([body.length >> 8, body.length & 255, ...sha256(body).subarray(0, 4)]);
  return `starling1-${base64url(header)}${base64url(body)}`;
}

test("an invite says what was put in", () => {
  expect(parseInvite(text)).toEqual({ ok: true, invite });
  const member: Invite = {
    cluster: { ...cluster, signaling: [], iceServers: [] },
    token: { kind: "member", text: "t" },
  };
  expect(parseInvite(encodeInvite(member))).toEqual({ ok: true, invite: member });
});

test("it carries the newest cluster key and no older one", () => {
  const older = { epoch: 2, key: cluster.keyring[0] as Uint8Array };
  const two = { ...invite, cluster: { ...cluster, clusterKeys: [...cluster.clusterKeys, older] } };
  expect(encodeInvite(two)).toBe(text);
});

test("white space that a terminal or a mail program puts in does not matter", () => {
  const broken = `  ${(text.match(/.{1,76}/g) as string[]).join("\r\n  ")}\n`;
  expect(parseInvite(broken)).toEqual({ ok: true, invite });
});

test("every beginning of an invite is told to be cut off", () => {
  for (let length = 4; length < text.length; length++) expect(faultOf(text.slice(0, length))).toBe("truncated");
});

test.each([
  ["", "not-an-invite"],
  ["sta", "not-an-invite"],
  ["hello", "not-an-invite"],
  [text.slice(1), "not-an-invite"],
  [text.toUpperCase(), "not-an-invite"],
  ["starling2-AAAA", "other-version"],
  ["starling12-AAAA", "other-version"],
  [`${text}A`, "altered"],
  [text.replace("starling1-", "starling1-?"), "altered"],
  [`${text.slice(0, 60)}é${text.slice(61)}`, "altered"],
  ["x".repeat(MAX_INVITE_LENGTH + 1), "too-long"],
  [" ".repeat(MAX_INVITE_LENGTH + 1), "too-long"],
] as const)("%.40s is refused as %s", (pasted, fault) => {
  expect(faultOf(pasted)).toBe(fault);
});

test("one changed character anywhere is found out", () => {
  for (let index = 18; index < text.length; index++) {
    const other = text[index] === "A" ? "B" : "A";
    expect(faultOf(text.slice(0, index) + other + text.slice(index + 1))).toBe("altered");
  }
});

test.each<[string, InviteFault, (fields: WireValue[]) => void]>([
  [
    "the published example as cluster key",
    "weak-key",
    (fields) => {
      fields[4] = fromBase64("7RB0TPs+d/VuD3rL/7ZD2JEcpA14aNCBvLOPHwEBy9s=") as Uint8Array;
    },
  ],
  [
    "zeros as gossip key",
    "weak-key",
    (fields) => {
      fields[5] = [new Uint8Array(32)];
    },
  ],
  [
    "a short cluster key",
    "malformed",
    (fields) => {
      fields[4] = new Uint8Array(16);
    },
  ],
  [
    "no gossip key",
    "malformed",
    (fields) => {
      fields[5] = [];
    },
  ],
  [
    "epoch 0",
    "malformed",
    (fields) => {
      fields[3] = 0;
    },
  ],
  [
    "a root of small order",
    "malformed",
    (fields) => {
      fields[1] = new Uint8Array(32);
    },
  ],
  [
    "no list of issuers",
    "malformed",
    (fields) => {
      fields[2] = new Uint8Array(0);
    },
  ],
  [
    "an http server",
    "malformed",
    (fields) => {
      fields[6] = ["https://example.org"];
    },
  ],
  [
    "a password in an address",
    "malformed",
    (fields) => {
      fields[6] = ["wss://user:secret@example.org"];
    },
  ],
  [
    "nine servers",
    "malformed",
    (fields) => {
      fields[6] = Array(9).fill("wss://example.org");
    },
  ],
  [
    "an ICE server that is none",
    "malformed",
    (fields) => {
      fields[7] = [[["file:x"], null, null]];
    },
  ],
  [
    "an ICE server without address",
    "malformed",
    (fields) => {
      fields[7] = [[[], null, null]];
    },
  ],
  [
    "a name that steers the terminal",
    "malformed",
    (fields) => {
      fields[0] = "\u001b[2J";
    },
  ],
  [
    "no name",
    "malformed",
    (fields) => {
      fields[0] = "";
    },
  ],
  [
    "no token",
    "malformed",
    (fields) => {
      fields[9] = "";
    },
  ],
  [
    "a token too long",
    "malformed",
    (fields) => {
      fields[9] = "x".repeat(4_097);
    },
  ],
  [
    "a kind of token that is none",
    "malformed",
    (fields) => {
      fields[8] = "join";
    },
  ],
  [
    "a field too few",
    "malformed",
    (fields) => {
      fields.pop();
    },
  ],
  [
    "a field too many",
    "malformed",
    (fields) => {
      fields.push(1);
    },
  ],
])("an invite with %s is refused", (_, fault, change) => {
  expect(faultOf(forged(() => undefined))).toBe("ok");
  expect(faultOf(forged(change))).toBe(fault);
});

test("a body that is no message, or nested without end, is refused", () => {
  expect(faultOf(wrapped(new Uint8Array(0)))).toBe("malformed");
  expect(faultOf(wrapped(Uint8Array.of(0xc1)))).toBe("malformed");
  expect(faultOf(wrapped(new Uint8Array(40_000).fill(0x91)))).toBe("malformed");
  expect(faultOf(wrapped(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)))).toBe("malformed");
});

test("an invite is never made of invalid parts", () => {
  const weak: Cluster = { ...cluster, keyring: [new Uint8Array(32)] };
  expect(() => encodeInvite({ ...invite, cluster: weak })).toThrow("valid parts");
});

test("a mutated invite neither throws nor passes for another", () => {
  const index = fc.nat({ max: text.length });
  const garbage = fc.string({ unit: fc.constantFrom(..."AZaz09-_=. é"), maxLength: 6 });
  fc.assert(
    fc.property(index, fc.nat({ max: 6 }), garbage, (at, removed, inserted) => {
      const mutated = text.slice(0, at) + inserted + text.slice(at + removed);
      fc.pre(mutated.replaceAll(" ", "") !== text);
      expect(faultOf(mutated)).not.toBe("ok");
    }),
    { numRuns: 3_000 },
  );
});

test("every fault is explained, with what to do", () => {
  const faults = [
    "not-an-invite",
    "other-version",
    "too-long",
    "truncated",
    "altered",
    "malformed",
    "weak-key",
  ] as const;
  for (const fault of faults) expect(describeInviteFault(fault)).toMatch(/[a-z].{20,}/);
});
