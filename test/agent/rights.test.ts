/** Goal: every door of an agent has a row in the table of rights, and the row is what decides. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Services } from "../../src/agent/services.ts";
import type { Agent } from "../../src/agent.ts";
import { guardedHandlers } from "../../src/cli/guarded-handlers.ts";
import { controlHandlers } from "../../src/cli/handlers.ts";
import type { ControlHandler } from "../../src/drivers/control.ts";
import { COMMAND_RIGHTS, ROUTE_RIGHTS, rightOfStream } from "../../src/proto/trust/rights.ts";

const handlersOf = () => controlHandlers({} as Agent, async () => undefined);
const answering: ControlHandler = async () => "done";
const every = (scopes: readonly string[]) =>
  guardedHandlers({ scopes }, new Map(Array.from(handlersOf().keys(), (command) => [command, answering])));
const call = (handler: ControlHandler | undefined, parameters: object) =>
  handler?.({ ...parameters }, () => undefined, new AbortController().signal);

test("every command of the control socket declares a right, and every right is of a command", () => {
  const ofAgents = Object.keys(COMMAND_RIGHTS).filter((command) => !command.startsWith("demo."));
  expect([...handlersOf().keys()].sort()).toEqual(ofAgents.sort());
});

test("an agent does not start with a command that declares none", () => {
  const handlers = new Map([...handlersOf(), ["kv.steal", answering] as const]);
  expect(() => guardedHandlers({ scopes: ["*"] }, handlers)).toThrow("kv.steal declares no right");
  expect(() => guardedHandlers({ scopes: ["*"] }, new Map([["constructor", answering]]))).toThrow("no right");
});

test("a token that allows nothing but joining does what is the owner's, and nothing else, on any bucket or topic", async () => {
  for (const [command, handler] of every(["mesh:join"])) {
    const called = call(handler, { bucket: "app", topic: "news", key: "k" });
    if (COMMAND_RIGHTS[command]?.right === "owner") expect(await called, command).toBe("done");
    else await expect(called, command).rejects.toMatchObject({ code: "permission-denied" });
  }
});

test("a viewer's token reads every bucket and topic, and writes and governs none", async () => {
  const handlers = every(["mesh:join", "kv:read:*", "topic:subscribe:*"]);
  const allowed: string[] = [];
  for (const [command, handler] of handlers) {
    if (COMMAND_RIGHTS[command]?.right === "owner") continue;
    const called = call(handler, { bucket: "app", topic: "news" });
    if (
      (await called?.then(
        () => true,
        () => false,
      )) === true
    )
      allowed.push(command);
  }
  expect(allowed.sort()).toEqual(["kv.export", "kv.get", "kv.list", "kv.watch", "topic.subscribe"]);
});

test("a scope on one bucket opens that one, whatever else the parameters say", async () => {
  const handlers = every(["mesh:join", "kv:write:app"]);
  expect(await call(handlers.get("kv.put"), { bucket: "app" })).toBe("done");
  for (const bucket of ["app2", "ap", "app:*", "*", ""])
    await expect(call(handlers.get("kv.put"), { bucket, topic: "app" })).rejects.toMatchObject({
      message: expect.stringContaining("ask for an invite with that scope"),
    });
});

test("a protocol of Starling's own without a row is served to nobody", () => {
  const services = new Services(
    () => ["*"],
    () => undefined,
  );
  expect(() => services.provide("starling/new/1", async () => undefined)).toThrow("declares no right");
  services.provide("starling/why/1", async () => undefined);
  expect(services.handlerOf("starling/why/1")).toBeDefined();
  expect(() => services.handle("starling/why/1", async () => undefined)).toThrow("Starling's own");
});

const sources = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(folder, name), "utf8"));

test("every protocol of Starling's own and every route of HTTP that the source names has a row", () => {
  const all = [...sources("src"), ...sources("signaling")].join("\n");
  const protocols = [...all.matchAll(/_PROTOCOL = "([^"]+)"/g)].map(([, protocol]) => protocol as string);
  expect(protocols.length).toBeGreaterThanOrEqual(5);
  expect(protocols.filter((protocol) => rightOfStream(protocol) === undefined)).toEqual([]);
  const servers = ["signaling/pages.ts", "signaling/web-sockets.ts", "src/drivers/observation.ts"];
  const routes = servers.flatMap((file) => [...readFileSync(file, "utf8").matchAll(/"(\/[a-z./-]+)"/g)]);
  expect(new Set(routes.map(([, route]) => route))).toEqual(new Set(Object.keys(ROUTE_RIGHTS)));
});
