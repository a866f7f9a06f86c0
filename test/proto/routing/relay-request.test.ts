import fc from "fast-check";
import { expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { MAX_RELAY_HOPS } from "../../../src/proto/routing/limits.ts";
import {
  encodeAnswerBody,
  encodeRelayAnswer,
  encodeRelayRequest,
  encodeRequestBody,
  isFresh,
  readRelayAnswer,
  readRelayRequest,
} from "../../../src/proto/routing/relay-request.ts";

const origin = peerIdOf(new Uint8Array(32).fill(1));
const target = peerIdOf(new Uint8Array(32).fill(2));
const channel = new Uint8Array(16).fill(3);
const key = new Uint8Array(32).fill(4);
const originKey = new Uint8Array(32).fill(5);
const signature = new Uint8Array(64).fill(6);
const request = { origin, target, channel, key, time: 1_800_000_000_000 };
const answer = { origin, target, channel, key, originKey };

test("a request and an answer are read as they were written, with the bytes that were signed", () => {
  const body = encodeRequestBody(request);
  const asked = readRelayRequest(encodeRelayRequest({ body, signature }, 3));
  expect(asked).toMatchObject({ request, hops: 3, signed: { signature } });
  expect([...(asked?.signed.body ?? [])]).toEqual([...body]);
  const answerBody = encodeAnswerBody(answer);
  const answered = readRelayAnswer(encodeRelayAnswer({ body: answerBody, signature }));
  expect(answered).toMatchObject({ answer, signed: { signature } });
  expect([...(answered?.signed.body ?? [])]).toEqual([...answerBody]);
});

test("one is not taken for the other, nobody asks for a channel to itself, and hops are bounded", () => {
  const body = encodeRequestBody(request);
  expect(readRelayAnswer(encodeRelayAnswer({ body, signature }))).toBeUndefined();
  expect(readRelayRequest(encodeRelayRequest({ body: encodeAnswerBody(answer), signature }, 1))).toBeUndefined();
  const self = encodeRequestBody({ ...request, target: origin });
  expect(readRelayRequest(encodeRelayRequest({ body: self, signature }, 1))).toBeUndefined();
  expect(readRelayRequest(encodeRelayRequest({ body, signature }, MAX_RELAY_HOPS + 1))).toBeUndefined();
});

test("arbitrary bytes, and every message cut short, are refused without an exception", () => {
  const whole = encodeRelayRequest({ body: encodeRequestBody(request), signature }, 3);
  for (let length = 0; length < whole.length; length++) {
    expect(readRelayRequest(whole.subarray(0, length))).toBeUndefined();
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      readRelayRequest(bytes);
      readRelayAnswer(bytes);
    }),
  );
});

test("a request is good for a minute before and after its time", () => {
  expect(isFresh(request, request.time)).toBe(true);
  expect(isFresh(request, request.time + 61_000)).toBe(false);
  expect(isFresh(request, request.time - 61_000)).toBe(false);
});
