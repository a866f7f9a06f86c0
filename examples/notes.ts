/**
 * A text that two members edit at once, and where each of them is in it: `npm run example:notes`.
 *
 * The document is a Yjs document; the provider keeps it in step over the mesh and in the store. Yjs and y-protocols are optional
 * peer dependencies: `npm install yjs y-protocols`. An application imports the provider from `starling-mesh/yjs`.
 */
import { Doc } from "yjs";
import { YjsProvider } from "../src/yjs/provider.ts";
import { openLocalCluster } from "./local-cluster.ts";

await using cluster = await openLocalCluster();
const [alice, bob] = await Promise.all([cluster.join("alice"), cluster.join("bob")]);

const texts = { alice: new Doc(), bob: new Doc() };
await using atAlice = new YjsProvider(alice, "notes", texts.alice);
await using atBob = new YjsProvider(bob, "notes", texts.bob);
await Promise.all([atAlice.synced, atBob.synced]);

/** Waits until `isSo`, asked after each change of the document or of presence at a provider. */
async function seen({ doc, awareness }: YjsProvider, isSo: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (isSo()) resolve();
  };
  doc.on("update", look);
  awareness.on("change", look);
  look();
  await promise;
  doc.off("update", look);
  awareness.off("change", look);
}

const read = (doc: Doc): string => doc.getText("body").toString();

texts.alice.getText("body").insert(0, "first line\n");
await seen(atBob, () => read(texts.bob) === "first line\n");
console.log("bob writes at the end");
texts.bob.getText("body").insert(read(texts.bob).length, "second line");
atBob.awareness.setLocalState({ name: "bob", line: 2 });

await seen(atAlice, () => read(texts.alice).endsWith("second line"));
console.log(`alice reads: ${read(texts.alice)}`);
console.log(`bob reads: ${read(texts.bob)}`);

const others = (): unknown[] => [...atAlice.awareness.getStates().values()].filter((state) => state["name"] === "bob");
await seen(atAlice, () => others().length > 0);
console.log(`alice sees bob at line ${(others()[0] as { line: number }).line}`);
