import fc from "fast-check";
import { expect, test } from "vitest";
import { compactHeader, parseCompact } from "../../../src/proto/trust/compact-token.ts";

const KID = "abcdefghijklmnop";
const part = (text: string): string => Buffer.from(text).toString("base64url");
const SIGNATURE = "A".repeat(86);
const HEADER = JSON.stringify(compactHeader(KID));
const token = (header: string, payload = '{"a":1}', signature = SIGNATURE): string =>
  `${part(header)}.${part(payload)}.${signature}`;
const faultOf = (text: string): string => {
  const result = parseCompact(text);
  return result.ok ? "ok" : result.fault;
};

test("the one form that issuers write is read", () => {
  expect(parseCompact(token(HEADER))).toEqual({ ok: true, token: { kid: KID, payload: { a: 1 } } });
});

test.each([
  ["no algorithm", `{"alg":"none","kid":"${KID}","typ":"JWT"}`, "wrong-algorithm"],
  ["a MAC", `{"alg":"HS256","kid":"${KID}","typ":"JWT"}`, "wrong-algorithm"],
  ["another curve's name", `{"alg":"Ed448","kid":"${KID}","typ":"JWT"}`, "wrong-algorithm"],
  ["the algorithm in lower case", `{"alg":"eddsa","kid":"${KID}","typ":"JWT"}`, "wrong-algorithm"],
  ["a list of algorithms", `{"alg":["EdDSA"],"kid":"${KID}","typ":"JWT"}`, "wrong-algorithm"],
  ["an embedded key", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","jwk":{}}`, "forbidden-header"],
  ["an address of keys", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","jku":"x"}`, "forbidden-header"],
  ["a certificate", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","x5c":[]}`, "forbidden-header"],
  ["an address of a certificate", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","x5u":"x"}`, "forbidden-header"],
  ["critical extensions", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","crit":[]}`, "forbidden-header"],
  ["an unencoded payload", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","b64":false}`, "forbidden-header"],
  ["a prototype", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","__proto__":{}}`, "forbidden-header"],
  ["another type", `{"alg":"EdDSA","kid":"${KID}","typ":"at+jwt"}`, "forbidden-header"],
  ["no type", `{"alg":"EdDSA","kid":"${KID}"}`, "forbidden-header"],
  ["no kid", `{"alg":"EdDSA","typ":"JWT"}`, "forbidden-header"],
  ["a kid that is a path", `{"alg":"EdDSA","kid":"../../../../etc/","typ":"JWT"}`, "forbidden-header"],
  ["a kid that is a number", `{"alg":"EdDSA","kid":1,"typ":"JWT"}`, "forbidden-header"],
  ["a kid twice", `{"alg":"EdDSA","kid":"${KID}","kid":"${KID}","typ":"JWT"}`, "malformed"],
  ["an algorithm twice", `{"alg":"none","alg":"EdDSA","kid":"${KID}","typ":"JWT"}`, "malformed"],
  ["a space", `{"alg":"EdDSA", "kid":"${KID}","typ":"JWT"}`, "malformed"],
  ["a byte order mark", `\ufeff${HEADER}`, "malformed"],
  ["a needless escape", HEADER.replace("EdDSA", "\\u0045dDSA"), "malformed"],
  ["a list", "[]", "malformed"],
  ["null", "null", "malformed"],
  ["nothing", "", "malformed"],
  ["half an object", HEADER.slice(0, -1), "malformed"],
  ["128 characters and more", `{"alg":"EdDSA","kid":"${KID}","typ":"JWT","x":"${"x".repeat(99)}"}`, "forbidden-header"],
])("a header with %s is refused", (_, header, fault) => {
  expect(faultOf(token(header))).toBe(fault);
});

test.each([
  ["a claim twice", '{"a":1,"a":1}'],
  ["a number in another spelling", '{"a":1e0}'],
  ["a number that does not fit", '{"a":12345678901234567890}'],
  ["a line break", '{"a":1}\n'],
  ["a list", "[1]"],
  ["a string", '"a"'],
  ["nesting without end", "[".repeat(2_000)],
  ["nothing", ""],
])("claims with %s are refused", (_, payload) => {
  expect(faultOf(token(HEADER, payload))).toBe("malformed");
});

test("base64url is canonical in every part", () => {
  const [header, payload] = token(HEADER).split(".") as [string, string, string];
  expect(faultOf(`${header}.${payload}=.${SIGNATURE}`)).toBe("malformed");
  expect(faultOf(`${header}.${payload.slice(0, -1)}R.${SIGNATURE}`)).toBe("malformed");
  expect(faultOf(`${header}.${payload}.${SIGNATURE.slice(0, -1)}B`)).toBe("malformed");
  expect(faultOf(`${header}.${payload}.${SIGNATURE}=`)).toBe("malformed");
  expect(faultOf(`${header}.${payload}.${SIGNATURE.slice(1)}`)).toBe("malformed");
  expect(faultOf(` ${token(HEADER)}`)).toBe("malformed");
  expect(faultOf(`${token(HEADER)}\n`)).toBe("malformed");
});

test("a token has three parts", () => {
  for (const text of ["", ".", "..", "...", token(HEADER).replace(".", ""), `${token(HEADER)}.`, `.${token(HEADER)}`]) {
    expect(faultOf(text)).not.toBe("ok");
  }
  // An unsigned token ends in a dot and nothing.
  expect(faultOf(`${part(HEADER)}.${part('{"a":1}')}.`)).toBe("malformed");
});

test("a token over 4,096 characters is not even split", () => {
  expect(faultOf("a.".repeat(2_049))).toBe("too-long");
  const claims = JSON.stringify({ a: "x".repeat(3_100) });
  expect(faultOf(token(HEADER, claims))).toBe("too-long");
});

test("no text makes the reader throw, and what it reads has one text only", () => {
  const anyPart = fc.oneof(fc.string().map(part), fc.json().map(part), fc.constant(part(HEADER)), fc.string());
  fc.assert(
    fc.property(fc.array(anyPart, { minLength: 1, maxLength: 4 }), (parts) => {
      const text = parts.join(".");
      const result = parseCompact(text);
      if (!result.ok) return;
      const again = [compactHeader(result.token.kid), result.token.payload].map((value) => part(JSON.stringify(value)));
      expect(`${again.join(".")}.${text.split(".")[2]}`).toBe(text);
    }),
    { numRuns: 3_000 },
  );
});
