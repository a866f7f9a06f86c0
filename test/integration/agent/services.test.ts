import { expect, test } from "vitest";
import { Services } from "../../../src/agent/services.ts";
import { MeshStream } from "../../../src/agent/stream.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";

/** The last word on a stream is the host's: what the opener's own agent lets through proves nothing. */

const peer = peerIdOf(new Uint8Array(32).fill(7));

function setUp(scopes: readonly string[]) {
  const log: string[] = [];
  const carrier = {
    send: () => undefined,
    writable: () => true,
    consumed: () => undefined,
    end: () => undefined,
    reset: (_stream: number, code: number) => void log.push(`reset ${code}`),
  };
  const services = new Services(
    () => scopes,
    (from) => void log.push(`refused ${from === peer}`),
  );
  services.handle("chat/1", () => void log.push("chat"));
  services.provide("starling/why/1", () => void log.push("own"));
  const open = (protocol: string): string[] => {
    void services.handlerOf(protocol)?.(new MeshStream(peer, protocol, 1, carrier), peer);
    return log.splice(0);
  };
  return { services, open };
}

test.each([
  [["stream:chat/1"], ["chat"]],
  [["stream:*"], ["chat"]],
  [["*"], ["chat"]],
  [
    ["mesh:join", "stream:chat/2", "stream:chat"],
    ["reset 15", "refused true"],
  ],
  [[], ["reset 15", "refused true"]],
])("a peer whose token grants %j is served or refused", (scopes, outcome) => {
  expect(setUp(scopes).open("chat/1")).toEqual(outcome);
});

test("a protocol of Starling itself asks for no scope, and one that nobody serves has no handler", () => {
  const { services, open } = setUp([]);
  expect(open("starling/why/1")).toEqual(["own"]);
  expect(services.handlerOf("other/1")).toBeUndefined();
  services.handle("chat/1", undefined);
  expect(services.handlerOf("chat/1")).toBeUndefined();
});

test("a protocol of Starling itself that declares no right is served to nobody", () => {
  const { services } = setUp([]);
  expect(() => services.provide("starling/undeclared/1", () => undefined)).toThrow("declares no right");
});
