import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { messageIdOf, Topic } from "../../../src/proto/gossip/messages.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { AUTHOR_RATE, MAX_POST_BYTES, MAX_POST_MESSAGE_BYTES, POST_LIFE_MS } from "../../../src/proto/topics/limits.ts";
import {
  decodePostMessage,
  encodePost,
  encodePostMessage,
  isTopic,
  type Post,
} from "../../../src/proto/topics/post.ts";
import { Topics, type TopicsOutput } from "../../../src/proto/topics/topics.ts";
import { CLOCK_LEEWAY_MS } from "../../../src/proto/trust/times.ts";
import { encode } from "../../../src/proto/wire/codec.ts";

const NOW = 1_700_000_000_000;
const SIGNATURE = new Uint8Array(64).fill(1);
const id = (name: string): PeerId => peerIdOf(sha256(utf8(name)));
const [self, author, bringer] = [id("self"), id("author"), id("bringer")];
const ID = messageIdOf(Topic.application, Uint8Array.of(1));

let scopes: Map<PeerId, readonly string[]>;
let topics: Topics;

beforeEach(() => {
  scopes = new Map([[author, ["mesh:join", "topic:publish:news"]]]);
  topics = new Topics(self, (peer) => scopes.get(peer), new SeededRandom(1));
});

function post(fields: Partial<Post> = {}): Post {
  return { author, topic: "news", time: NOW, nonce: new Uint8Array(8), payload: Uint8Array.of(1), ...fields };
}

/** What happens to a post that is delivered and whose signature holds. */
function arrive(made: Post, now = NOW): readonly TopicsOutput[] {
  const payload = encodePostMessage(encodePost(made), SIGNATURE);
  const outputs = topics.handle({ type: "delivered", from: bringer, id: ID, payload }, now);
  const [check] = outputs;
  if (check?.type !== "verify") return outputs;
  expect(check).toMatchObject({ from: bringer, statements: [{ signer: made.author, label: "starling/post/1" }] });
  return topics.handle({ type: "verified", resume: check.resume }, now);
}

const verdicts = (outputs: readonly TopicsOutput[]): string[] =>
  outputs.flatMap((output) =>
    output.type === "verdict" ? [output.verdict] : output.type === "fault" ? [output.fault] : [],
  );

describe("a post of ours", () => {
  test("is signed, then told to all and to our own subscribers", () => {
    const [sign] = topics.handle({ type: "publish", topic: "news", payload: Uint8Array.of(7) }, NOW + 0.5);
    if (sign?.type !== "sign") throw new Error("it is to be signed");
    expect(sign).toMatchObject({
      label: "starling/post/1",
      resume: { post: { author: self, topic: "news", time: NOW } },
    });
    const outputs = topics.handle({ type: "signed", signature: SIGNATURE, resume: sign.resume }, NOW);
    expect(outputs.map(({ type }) => type)).toEqual(["broadcast", "post"]);
    const [broadcast] = outputs;
    const told = broadcast?.type === "broadcast" ? decodePostMessage(broadcast.payload)?.post : undefined;
    expect(told?.topic).toBe("news");
    expect([...(told?.payload ?? [])]).toEqual([7]);
  });

  test("differs from an equal one, so that both are told", () => {
    const bodies = [1, 2].map(() => {
      const [sign] = topics.handle({ type: "publish", topic: "news", payload: Uint8Array.of(7) }, NOW);
      return sign?.type === "sign" ? sign.body : undefined;
    });
    expect(bodies[0]).not.toEqual(bodies[1]);
  });
});

describe("a post of another member", () => {
  test("is passed on and given to subscribers when its author may publish there", () => {
    const outputs = arrive(post());
    expect(verdicts(outputs)).toEqual(["accept"]);
    expect(outputs.at(-1)).toMatchObject({ type: "post", post: { author, topic: "news" } });
  });

  test("goes no further when the author's token does not allow the topic, and the author is to blame", () => {
    const outputs = arrive(post({ topic: "secrets" }));
    expect(verdicts(outputs)).toEqual(["ignore", "topic-forbidden"]);
    expect(outputs.at(-1)).toMatchObject({ peer: author });
  });

  test("goes no further when its author is no member, and nobody is to blame", () => {
    const outputs = arrive(post({ author: id("stranger") }));
    expect(verdicts(outputs)).toEqual(["ignore", "topic-stranger"]);
    expect(outputs.at(-1)).not.toHaveProperty("peer");
  });

  test("of another time is dropped before its signature is checked", () => {
    const least = NOW - POST_LIFE_MS - CLOCK_LEEWAY_MS;
    expect(verdicts(arrive(post({ time: least - 1 })))).toEqual(["ignore", "topic-stale"]);
    expect(verdicts(arrive(post({ time: NOW + CLOCK_LEEWAY_MS + 1 })))).toEqual(["ignore", "topic-stale"]);
    expect(verdicts(arrive(post({ time: least })))).toEqual(["accept"]);
    expect(verdicts(arrive(post({ time: NOW + CLOCK_LEEWAY_MS })))).toEqual(["accept"]);
  });

  test("is dropped when its author is over its rate, and others are heard", () => {
    const other = id("other");
    scopes.set(other, ["*"]);
    const counts = { accepted: 0, flooded: 0 };
    for (let count = 0; count < 3 * AUTHOR_RATE.burst; count++) {
      if (verdicts(arrive(post({ time: NOW + count })))[0] === "accept") counts.accepted++;
      else counts.flooded++;
    }
    expect(counts).toEqual({ accepted: AUTHOR_RATE.burst, flooded: 2 * AUTHOR_RATE.burst });
    expect(verdicts(arrive(post({ author: other })))).toEqual(["accept"]);
    expect(verdicts(arrive(post(), NOW + 1_000))).toEqual(["accept"]);
  });

  test("that is malformed is rejected, which blames whoever brought it", () => {
    const body = encodePost(post());
    const wrong = [
      Uint8Array.of(1, 2, 3),
      encode([body]),
      encode([body, SIGNATURE.slice(1)]),
      encodePostMessage(encodePost(post({ topic: "not a topic" })), SIGNATURE),
      encodePostMessage(encodePost(post({ payload: new Uint8Array(MAX_POST_BYTES + 1) })), SIGNATURE),
      new Uint8Array(MAX_POST_MESSAGE_BYTES + 1),
    ];
    for (const payload of wrong) {
      expect(topics.handle({ type: "delivered", from: bringer, id: ID, payload }, NOW)).toEqual([
        { type: "verdict", id: ID, verdict: "reject" },
      ]);
    }
    expect(verdicts(arrive(post({ payload: new Uint8Array(MAX_POST_BYTES) })))).toEqual(["accept"]);
  });
});

test("arbitrary bytes are no post and throw nothing", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => decodePostMessage(noise) === undefined));
});

test("the name of a topic fits a scope", () => {
  for (const good of ["a", "News/2026", "x".repeat(64), "a.b_c~d-e"]) expect(isTopic(good)).toBe(true);
  for (const bad of ["", " ", "a b", "/a", "a:b", "*", "x".repeat(65), "ü"]) expect(isTopic(bad)).toBe(false);
});
