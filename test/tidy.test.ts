/**
 * The house rules that the linter cannot say. A failure names the file, the line and the rule.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { version } from "../src/version.ts";

const root = join(import.meta.dirname, "..");
const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(root, path)));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const sources = tracked.filter((path) => path.endsWith(".ts") && !path.startsWith("test/"));
const isProto = (path: string): boolean => /^(src|signaling|stun)\/proto\//.test(path);

/** Blanks comments and string contents, so that words in prose do not count. Line breaks stay. */
function code(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "))
    .replace(/(^|[^:"'`])\/\/[^\n]*/g, "$1")
    .replace(/"(?:[^"\\\n]|\\.)*"/g, '""');
}

function offences(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    code(read(path))
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

function importsOf(path: string): string[] {
  return [...read(path).matchAll(/(?:^|\n)\s*(?:import|export)\b[^;"]*?from\s+"([^"]+)"|import\("([^"]+)"\)/g)].map(
    (match) => match[1] ?? match[2] ?? "",
  );
}

/** Imports as paths from the root; packages as their names. */
function targetsOf(path: string): string[] {
  return importsOf(path).map((specifier) =>
    specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier,
  );
}

test("protocol code has no IO, clock, randomness, timers or promises", () => {
  const impure =
    /\b(async|await|Promise|Date\.now|new Date|Math\.random|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process\.|Buffer|console)\b/;
  expect(offences(sources.filter(isProto), impure)).toEqual([]);
});

test("protocol code uses no function whose result may differ between engines", () => {
  expect(offences(sources.filter(isProto), /\bMath\.(log|log2|log10|exp|pow|sin|cos|tan)\b|\*\*/)).toEqual([]);
});

test("protocol code imports protocol code only", () => {
  const pure = new Map([
    ["msgpackr", "src/proto/wire/codec.ts"],
    ["@noble/ciphers/chacha.js", "src/proto/routing/sealed-channel.ts"],
    ["@noble/ciphers/salsa.js", "src/proto/trust/box-key.ts"],
    ["@noble/hashes/hmac.js", "src/proto/hash.ts"],
    ["@noble/hashes/legacy.js", "src/proto/hash.ts"],
    ["@noble/hashes/sha2.js", "src/proto/hash.ts"],
    ["@noble/hashes/hkdf.js", "src/proto/hash.ts"],
  ]);
  const wrong = sources.filter(isProto).flatMap((path) =>
    targetsOf(path)
      .filter((target) => {
        const home = path.slice(0, path.indexOf("/proto/") + 7);
        return !target.startsWith("src/proto/") && !target.startsWith(home) && pure.get(target) !== path;
      })
      .map((target) => `${path} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

test("drivers import protocol code and never each other", () => {
  const wrong = sources
    .filter((path) => path.startsWith("src/drivers/"))
    .flatMap((path) =>
      targetsOf(path)
        .filter((target) => /^(src|signaling|stun)\//.test(target))
        .filter((target) => !/^src\/(proto\/|errors\.ts$|options\.ts$|rtc\.ts$|store\.ts$|audit\.ts$)/.test(target))
        // One outside thing may take several files: rtc.auto.ts chooses among rtc.*.ts.
        .filter((target) => !(/^src\/drivers\/(\w+)/.exec(target)?.[1] === /^src\/drivers\/(\w+)/.exec(path)?.[1]))
        .map((target) => `${path} imports ${target}`),
    );
  expect(wrong).toEqual([]);
});

test("files stay below 400 lines", () => {
  const long = tracked
    .filter((path) => path.endsWith(".ts"))
    .map((path) => ({ path, lines: read(path).split("\n").length }))
    .filter(({ path, lines }) => lines > (path.startsWith("test/") ? 600 : 400));
  expect(long).toEqual([]);
});

test("no escape from the type system and no left-over marks outside tests", () => {
  expect(offences(sources, /: any\b|\bas any\b|as unknown as|@ts-(ignore|expect-error)/)).toEqual([]);
  expect(sources.filter((path) => /\b(TODO|FIXME|XXX)\b/.test(read(path)))).toEqual([]);
});

test("the lockfile is complete and names no registry", () => {
  const lock = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, { resolved?: string; optionalDependencies?: Record<string, string> }>;
  };
  const names = new Set(Object.keys(lock.packages).map((path) => path.replace(/^.*node_modules\//, "")));
  const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {})
      .filter((name) => !names.has(name))
      .map((name) => `${path}: ${name}`),
  );
  expect(missing).toEqual([]);
  expect(Object.values(lock.packages).filter((entry) => entry.resolved?.startsWith("http"))).toEqual([]);
});

test("dependencies are pinned exactly", () => {
  const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string> | undefined>;
  for (const field of ["dependencies", "optionalDependencies", "devDependencies"]) {
    for (const [name, range] of Object.entries(manifest[field] ?? {}))
      expect(`${name} ${range}`).toMatch(/ \d+\.\d+\.\d+$/);
  }
});

test("the version in the code is the version of the package", () => {
  expect(version).toBe((JSON.parse(read("package.json")) as { version: string }).version);
});

const documents = ["README.md", "ARCHITECTURE.md", "LIMITS.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"];

test("every path that the documents name exists", () => {
  const missing = documents.flatMap((document) =>
    [...read(document).matchAll(/`((?:src|signaling|stun|test|examples|tools)\/[\w./*-]+)`/g)]
      .map((match) => (match[1] ?? "").replace(/\/?\*.*$/, ""))
      .filter((path) => !existsSync(join(root, path)))
      .map((path) => `${document}: ${path}`),
  );
  expect(missing).toEqual([]);
});

test("every npm script that the documents name exists", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const missing = documents.flatMap((document) =>
    [...read(document).matchAll(/npm run (?:-s )?([\w:-]+)/g)]
      .map((match) => match[1] ?? "")
      .filter((name) => !(name in scripts))
      .map((name) => `${document}: ${name}`),
  );
  expect(missing).toEqual([]);
});

test("LIMITS.md names every limit of src/proto/limits.ts with its value", () => {
  const text = read("LIMITS.md");
  const limits = [...read("src/proto/limits.ts").matchAll(/export const (MAX_\w+)/g)].map((match) => match[1] ?? "");
  expect(limits.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});

test("every claim of SECURITY.md names a test that exists", () => {
  const rows = [...read("SECURITY.md").matchAll(/`(test\/[\w./-]+\.ts)` "([^"]+)"/g)];
  expect(rows.length).toBeGreaterThan(10);
  const missing = rows
    .filter(([, file, title]) => !existsSync(join(root, file ?? "")) || !read(file ?? "").includes(`"${title}"`))
    .map(([row]) => row);
  expect(missing).toEqual([]);
});

test("each row of SECURITY.md names a test", () => {
  const lines = read("SECURITY.md").split("\n");
  const isHead = (line: string | undefined): boolean => /^\|(-+\|)+$/.test(line ?? "");
  const rows = lines.filter((line, at) => line.startsWith("|") && !isHead(line) && !isHead(lines[at + 1]));
  expect(rows.length).toBeGreaterThan(100);
  expect(rows.filter((row) => !/\| `test\/[\w./-]+\.ts` "[^"]+" \|$/.test(row))).toEqual([]);
});

test("every documented subpath of the package exists", () => {
  const { exports } = JSON.parse(read("package.json")) as { exports: Record<string, { default: string } | string> };
  for (const target of Object.values(exports)) {
    const built = typeof target === "string" ? target : target.default;
    const source = built.replace(/^\.\/dist\//, "").replace(/\.js$/, ".ts");
    expect(existsSync(join(root, source)), `${built} is built from ${source}`).toBe(true);
  }
});
