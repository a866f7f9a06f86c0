import { describe, expect, test } from "vitest";
import { Kind } from "../../../src/proto/signaling/messages.ts";
import {
  COMMAND_RIGHTS,
  mayDo,
  ROUTE_RIGHTS,
  rightOfFrame,
  rightOfStream,
  SIGNALING_RIGHTS,
  scopeFor,
} from "../../../src/proto/trust/rights.ts";
import { isScope } from "../../../src/proto/trust/scopes.ts";
import { FIRST_LINK_FRAME, FrameKind } from "../../../src/proto/wire/frame-kind.ts";

describe("the table of rights", () => {
  test("has a row for every kind of message that agents send to a signaling server, and for no other", () => {
    const ofAgents = Object.entries(Kind).flatMap(([name, kind]) => (kind < 64 ? [name] : []));
    expect(Object.keys(SIGNALING_RIGHTS).sort()).toEqual([...ofAgents, "foreign-hello"].sort());
    const strangers = Object.entries(SIGNALING_RIGHTS).flatMap(([name, right]) => (right === "anyone" ? [name] : []));
    expect(strangers.sort()).toEqual(["exchange", "foreign-hello", "goodbye", "hello", "login"]);
  });

  test("lets frames of admission pass before it, and nothing else whatever its kind", () => {
    const open = Array.from({ length: 256 }, (_, kind) => kind).filter((kind) => rightOfFrame(kind) === "anyone");
    expect(open).toEqual(Object.values(FrameKind));
    expect(rightOfFrame(FIRST_LINK_FRAME)).toBe("member");
  });

  test("asks for a scope on every protocol of an application, and knows each of Starling's own by name", () => {
    expect(rightOfStream("chat/1")).toBe("open-stream");
    expect(rightOfStream("starling/issuer/1")).toBe("member");
    for (const unknown of ["starling/", "starling/new/1", "starling/toString", "starling/issuer/2"])
      expect(rightOfStream(unknown)).toBeUndefined();
  });

  test("names scopes that a token can have, and each act on one thing allows it on no other", () => {
    const acts = ["read-bucket", "write-bucket", "govern-bucket", "open-stream", "publish", "subscribe"] as const;
    for (const act of acts) {
      const scope = scopeFor(act, "app");
      expect(isScope(scope), scope).toBe(true);
      expect(mayDo([scope], act, "app")).toBe(true);
      expect(mayDo([scope], act, "app2")).toBe(false);
      for (const other of acts) expect(mayDo([scope], other, "app"), other).toBe(other === act);
    }
    for (const act of ["join", "relay", "read-metrics", "revoke", "rotate"] as const) {
      expect(isScope(scopeFor(act))).toBe(true);
      expect(mayDo([], act)).toBe(false);
      expect(mayDo(["kv:*", "stream:*", "topic:*"], act)).toBe(false);
    }
  });

  test("asks for a scope wherever a command names a bucket or a topic, and for the owner everywhere else", () => {
    for (const [command, { right, on }] of Object.entries(COMMAND_RIGHTS)) {
      const family = command.split(".")[0];
      const isNamed = family === "kv" || family === "topic" || /^bucket\.(set|drop)$/.test(command);
      expect(on === undefined ? right : "a scope", command).toBe(isNamed ? "a scope" : "owner");
    }
    expect(ROUTE_RIGHTS["/metrics"]).toBe("read-metrics");
  });
});
