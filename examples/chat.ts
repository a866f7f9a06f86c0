/** Two agents talk over one stream of the protocol `chat/1`: `npm run example:chat`. */
import { openLocalCluster } from "./local-cluster.ts";

await using cluster = await openLocalCluster();
const alice = await cluster.join("alice");
const bob = await cluster.join("bob");

// Bob answers every message, and ends his side when Alice has ended hers.
bob.handle("chat/1", async (stream, from) => {
  const name = bob.members().find((member) => member.id === from)?.name ?? from.slice(0, 8);
  const decoder = new TextDecoder();
  for await (const message of stream) {
    const text = decoder.decode(message);
    console.log(`${name}: ${text}`);
    await stream.send(`you said ${text.length} letters`);
  }
  stream.end();
});

// One may know the other, and its name, a moment later than the other way round.
for (const [agent, other] of [
  [alice, bob],
  [bob, alice],
] as const) {
  if (agent.members().some((member) => member.id === other.id)) continue;
  await new Promise((resolve) => agent.addEventListener("memberup", resolve, { once: true }));
}
const stream = await alice.open(bob.id, "chat/1");
for (const line of ["hello", "how is the weather behind your NAT?", "goodbye"]) await stream.send(line);
stream.end();
for await (const reply of stream) console.log(`bob: ${new TextDecoder().decode(reply)}`);
await stream.closed;
