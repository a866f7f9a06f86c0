import { existsSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { version } from "../../src/version.ts";
import { freshFolder, ROOT, run, STARLING } from "./command.ts";

/** The package as it is published: packed, installed into an empty folder, run there. */

/** A Node that is older than Starling needs: the system's, where it is one. */
async function oldNode(): Promise<string | undefined> {
  for (const path of ["/usr/bin/node", "/usr/local/bin/node"]) {
    if (!existsSync(path)) continue;
    const { stdout } = await run(path, ["-p", "process.versions.node"]);
    if (Number(stdout.split(".")[0]) < 22) return path;
  }
  return undefined;
}

test("in a clone, starling runs on any Node: an old one hands over to the one that is pinned", async () => {
  const [direct, npx] = await Promise.all([
    run(process.execPath, [STARLING, "--version"]),
    run("npx", ["--no-install", "starling", "--version"]),
  ]);
  expect(direct).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: "" });
  expect(npx).toMatchObject({ code: 0, stdout: `${version}\n` });
  const old = await oldNode();
  if (old !== undefined) {
    expect(await run(old, [STARLING, "--version"])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: "" });
  }
});

test("packed and installed, the command and the library work", async ({ skip }) => {
  const folder = await freshFolder();
  const packed = await run("npm", ["pack", "--json", "--pack-destination", folder], { timeoutMs: 60_000 });
  expect(packed.code, packed.stderr).toBe(0);
  const listing = packed.stdout.slice(packed.stdout.search(/^[[{]/m));
  const parsed = JSON.parse(listing) as unknown;
  const [archive] = (Array.isArray(parsed) ? parsed : Object.values(parsed as object)) as {
    filename: string;
    files: { path: string }[];
  }[];
  const paths = archive?.files.map(({ path }) => path) ?? [];
  for (const path of ["dist/src/index.js", "dist/src/index.d.ts", "dist/src/cli/main.js", "dist/signaling/main.js"]) {
    expect(paths).toContain(path);
  }
  expect(paths).toContain("src/cli/starling.js");
  expect(paths.filter((path) => /^(test|examples|tools|node_modules|\.)|(?<!\.d)\.ts$/.test(path))).toEqual([]);

  const app = join(folder, "app");
  await mkdir(app);
  await writeFile(join(app, "package.json"), '{ "type": "module", "private": true }');
  const flags = ["--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional"];
  const tarball = join(folder, archive?.filename ?? "");
  const installed = await run("npm", ["install", ...flags, tarball], { cwd: app, timeoutMs: 60_000 });
  if (installed.code !== 0 && /ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ENOTCACHED|E40[13]/.test(installed.stderr)) {
    skip("the registry cannot be reached");
  }
  expect(installed.code, installed.stderr).toBe(0);

  const command = join(app, "node_modules/.bin/starling");
  expect(await run(process.execPath, [command, "--version"], { cwd: app })).toMatchObject({
    code: 0,
    stdout: `${version}\n`,
    stderr: "",
  });
  const program = 'import { version, createAgent } from "starling-mesh"; console.log(version, typeof createAgent);';
  const library = await run(process.execPath, ["--input-type=module", "-e", program], { cwd: app });
  expect(library).toMatchObject({ code: 0, stdout: `${version} function\n`, stderr: "" });
  const adapter = 'import { simplePeerStack } from "starling-mesh/simple-peer"; console.log(typeof simplePeerStack);';
  expect(await run(process.execPath, ["--input-type=module", "-e", adapter], { cwd: app })).toMatchObject({
    code: 0,
    stdout: "function\n",
  });
  for (const name of ["yjs", "y-protocols", "lib0", "isomorphic.js"])
    await symlink(join(ROOT, "node_modules", name), join(app, "node_modules", name));
  const provider = 'import { YjsProvider } from "starling-mesh/yjs"; console.log(typeof YjsProvider);';
  expect(await run(process.execPath, ["--input-type=module", "-e", provider], { cwd: app })).toMatchObject({
    code: 0,
    stdout: "function\n",
  });
  const state = join(app, "state");
  expect((await run(process.execPath, [command, "init", "--state", state], { cwd: app })).code).toBe(0);

  const old = await oldNode();
  if (old === undefined) return;
  const refused = await run(old, [command, "--version"], { cwd: app });
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toMatch(/^starling: needs Node 22\.18 or newer, and this is v\d+/);
  expect(refused.stderr).toContain("npm install");
  expect(refused.stderr).not.toMatch(/^\s+at /m);
}, 120_000);
