import { describe, expect, test } from "vitest";
import { Agent, desk, sealed } from "./client-agent.ts";
import { DAY, START } from "./rooms-harness.ts";

/** How a client comes to a member token that it can show, and serves those who have none. */

describe("a client", () => {
  test("takes a join token to a desk, sealed, and logs in with the token that it is given, from then on", () => {
    const agent = new Agent({ kind: "join", token: "once" });
    expect(agent.challenged()).toMatchObject([
      { type: "skew" },
      { type: "seek-desk", attempt: 1, token: "once", desks: [desk] },
    ]);
    expect(agent.handle({ type: "request", attempt: 1, kid: "kid", bytes: sealed })).toEqual([
      { say: { type: "exchange", kid: "kid", bytes: sealed } },
    ]);
    expect(agent.hear({ type: "exchanged", bytes: sealed })).toEqual([{ type: "unseal", attempt: 1, bytes: sealed }]);
    const answer = { ok: true, token: "issued", expiresAt: START + DAY } as const;
    expect(agent.handle({ type: "unsealed", attempt: 1, answer })).toMatchObject([
      { type: "issued", token: "issued", expiresAt: START + DAY },
      { type: "sign", label: "starling/login/1" },
    ]);
    expect(agent.signed()).toMatchObject([{ say: { type: "login", token: "issued" } }]);
    expect(agent.welcome()).toMatchObject([{ type: "ready" }]);
    agent.handle({ type: "closed", attempt: 1, reason: "reset" });
    agent.pass(30_000);
    agent.handle({ type: "opened", attempt: agent.attempt });
    agent.challenge();
    expect(agent.signed()).toMatchObject([{ say: { token: "issued" } }]);
  });

  test("shows a join token to no server, whatever desks it names and whatever it says", () => {
    const agent = new Agent({ kind: "join", token: "once" });
    agent.challenged();
    const said = [
      ...agent.signed(),
      ...agent.hear({ type: "time", id: 1, serverTime: START }),
      ...agent.pass(60_000),
    ].filter((entry) => "say" in entry);
    expect(said).toEqual([]);
    const other = new Agent({ kind: "join", token: "once" });
    other.challenged();
    expect(other.handle({ type: "no-desk", attempt: 1, detail: "none" })).toMatchObject([
      { type: "disconnect", attempt: 1 },
      { type: "offline", reason: "refused", code: "issuer-unreachable", detail: "none" },
    ]);
  });

  test("does not log in with a join token that came in the middle of a login", () => {
    const agent = new Agent();
    agent.challenged();
    agent.handle({ type: "credential", credential: { kind: "join", token: "once" } });
    expect(agent.signed()).toMatchObject([{ say: { token: "held" } }]);
  });

  test("waits for a desk no longer than fifteen seconds, and comes back", () => {
    const agent = new Agent({ kind: "join", token: "once" });
    agent.challenged();
    agent.handle({ type: "request", attempt: 1, kid: "kid", bytes: sealed });
    // An answer that does not open is none.
    expect(agent.hear({ type: "exchanged", bytes: sealed })).toMatchObject([{ type: "unseal" }]);
    expect(agent.pass(14_999)).toEqual([]);
    expect(agent.pass(1)).toMatchObject([{ type: "disconnect" }, { type: "offline", reason: "timed-out" }]);
  });

  test("tells a desk's no apart: for good, or for now", () => {
    for (const [code, end] of [
      ["token-used", { type: "stopped", reason: "token-used" }],
      ["unavailable", { type: "offline", reason: "refused", code: "unavailable" }],
    ] as const) {
      const agent = new Agent({ kind: "join", token: "once" });
      agent.challenged();
      const answer = { ok: false, code, detail: "" } as const;
      expect(agent.handle({ type: "unsealed", attempt: 1, answer })).toMatchObject([{ type: "disconnect" }, end]);
    }
  });

  test("takes a token that has expired by the server's clock to a desk", () => {
    // The leeway for clocks counts here as everywhere.
    expect(new Agent().challenged(START + DAY + 59_999)).toMatchObject([{ type: "skew" }, { type: "sign" }]);
    expect(new Agent().challenged(START + DAY + 60_000)).toMatchObject([
      { type: "skew" },
      { type: "seek-desk", token: "held" },
    ]);
  });

  test("told that its token has expired takes it to a desk, and stops if that refuses it too", () => {
    const agent = new Agent();
    agent.challenged();
    agent.signed();
    expect(agent.hear({ type: "refused", code: "token-expired", detail: "" })).toMatchObject([
      { type: "disconnect" },
      { type: "offline", reason: "refused", code: "token-expired" },
    ]);
    agent.pass(1_000);
    agent.handle({ type: "opened", attempt: agent.attempt });
    expect(agent.challenge()).toMatchObject([{ type: "skew" }, { type: "seek-desk", token: "held" }]);
    const answer = { ok: false, code: "token-expired", detail: "for good" } as const;
    expect(agent.handle({ type: "unsealed", attempt: agent.attempt, answer })).toMatchObject([
      { type: "disconnect" },
      { type: "stopped", reason: "token-expired", detail: "for good" },
    ]);
  });

  test("hands in its desk after every login, and answers on the connection that it was asked on", () => {
    const agent = new Agent();
    agent.handle({ type: "desk", desk });
    agent.challenged();
    agent.signed();
    expect(agent.welcome()).toMatchObject([{ say: { type: "desk", desk } }, { type: "ready" }]);
    expect(agent.hear({ type: "asked", id: 3, bytes: sealed })).toEqual([
      { type: "asked", attempt: 1, id: 3, bytes: sealed },
    ]);
    expect(agent.handle({ type: "answer", attempt: 1, id: 3, bytes: sealed })).toEqual([
      { say: { type: "answer", id: 3, bytes: sealed } },
    ]);
    expect(agent.handle({ type: "answer", attempt: 9, id: 3, bytes: sealed })).toEqual([]);
  });
});
