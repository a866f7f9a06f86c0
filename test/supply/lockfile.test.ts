import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type LockedPackages, lockfileFaults } from "./lockfile.ts";

const good = { version: "1.0.0", license: "MIT", integrity: "sha512-AAAA" };

test("everything that is installed has a licence on the list and the checksum that was reviewed", () => {
  const lock = JSON.parse(readFileSync(join(import.meta.dirname, "../../package-lock.json"), "utf8")) as {
    readonly packages: LockedPackages;
  };
  expect(Object.keys(lock.packages).length).toBeGreaterThan(100);
  expect(lockfileFaults(lock.packages)).toEqual([]);
});

test.each<[string, object, string]>([
  ["no licence", { license: undefined }, "no licence is stated"],
  ["a licence that obliges who uses it", { license: "AGPL-3.0-only" }, "the licence AGPL-3.0-only is not on the list"],
  [
    "one of two that must both be kept",
    { license: "MIT AND GPL-3.0-only" },
    "the licence MIT AND GPL-3.0-only is not on the list",
  ],
  ["weak copyleft that nobody has decided on", { license: "MPL-2.0" }, "the licence MPL-2.0 is not on the list"],
  ["no checksum", { integrity: undefined }, "no SHA-512 of it is stated"],
  ["a weak checksum", { integrity: "sha1-AAAA" }, "no SHA-512 of it is stated"],
  [
    "an origin of its own",
    { resolved: "git+ssh://git@example.org/a/b.git" },
    "it comes from elsewhere than the registry",
  ],
  ["a script of its own", { hasInstallScript: true }, "it wants to run a script when it is installed"],
])("a package with %s is found", (_, change, fault) => {
  expect(lockfileFaults({ "": {}, "node_modules/a": { ...good, ...change } })).toEqual([`a 1.0.0: ${fault}`]);
});

test("one of several licences by choice is enough, and weak copyleft by name or for development", () => {
  expect(
    lockfileFaults({
      "node_modules/a": { ...good, license: "(GPL-3.0-only OR MIT)" },
      "node_modules/b/node_modules/mediabunny": { ...good, license: "MPL-2.0" },
      "node_modules/c": { ...good, license: "MPL-2.0", dev: true },
      "tools/runtime": {},
      "node_modules/runtime": { link: true, resolved: "tools/runtime" },
    }),
  ).toEqual([]);
});
