import { chooseStack } from "../../src/drivers/rtc.auto.ts";
import { attackerOn, begin } from "./rtc-attacker.ts";
import { closePair, openPair, pairOf } from "./rtc-pair.ts";

/**
 * A process that uses a stack and then has nothing more to do: `rtc-child.ts STACK STEP`. It closes both ends when the
 * initiator says STEP (`answerer STEP`: when the answerer does; with `+ MS`: so much later; or before anybody has said anything:
 * `new`; or while the peer is silent in DTLS: `silent-dtls`), and writes the time to standard output. It never calls
 * `process.exit`.
 */
const [word, step] = process.argv.slice(2);
if (word !== "native" && word !== "werift") throw new Error("which stack?");
const stack = await chooseStack(word);

if (step === "exchange") {
  const pair = await openPair(stack, stack);
  pair.initiator.connection.send(new Uint8Array(65_536));
  await pair.answerer.received(1);
  await closePair(pair);
} else if (step === "silent-dtls") {
  const attacker = await attackerOn(stack, "initiator");
  attacker.isSilent = true;
  await begin(attacker, "initiator");
  await attacker.victim.until("ice-connected", () => attacker.victim.count("ice-connected") > 0);
  // The first flight is on its way, and will be repeated for half a minute unless somebody stops it.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await attacker.close();
} else {
  const pair = pairOf(stack, stack);
  const [, who = "", event, ms] = /^(answerer )?([a-z-]+)(?: \+ (\d+))?$/.exec(step ?? "") ?? [];
  const end = who === "" ? pair.initiator : pair.answerer;
  pair.initiator.connection.offer();
  await end.until(`${step}`, () => event === "new" || end.events.some(({ type }) => type === event));
  if (ms !== undefined) await new Promise((resolve) => setTimeout(resolve, Number(ms)));
  await closePair(pair);
}
await stack.close();
process.stdout.write(String(Date.now()));
