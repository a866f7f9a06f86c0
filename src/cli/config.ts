import type { Command } from "commander";
import { addSettingFlags, flagsOf } from "./flags.ts";
import { print, printJson, say, style } from "./output.ts";
import { type ResolvedSettings, resolveSettings } from "./settings.ts";

/** `starling config check | show`: whether the configuration is valid, and where each value comes from. */
export function configCommand(program: Command): void {
  const config = program.command("config").description("check and show the configuration");
  addSettingFlags(
    config.command("check").description("exit 0 if the configuration is valid, 1 with the reason if not"),
  ).action((_options, command: Command) => {
    const { file } = resolveSettings(flagsOf(command));
    say(file ? `${file} is valid` : "no configuration file; the defaults are valid");
  });
  addSettingFlags(config.command("show").description("print every setting with its origin; secrets are redacted"))
    .option("--json", "print JSON")
    .action((options: { json?: boolean }, command: Command) => {
      const settings = resolveSettings(flagsOf(command));
      if (options.json) printJson(describe(settings));
      else {
        for (const [name, { value, origin }] of Object.entries(describe(settings).settings)) {
          print(`${name}: ${JSON.stringify(value)}  ${style("dim", `# ${origin}`)}`);
        }
      }
    });
}

function describe(resolved: ResolvedSettings) {
  const settings = Object.entries(resolved.values).map(([name, value]) => [
    name,
    { value: redact(value), origin: resolved.origins[name as keyof typeof resolved.origins] },
  ]);
  return {
    stateDirectory: resolved.stateDirectory,
    file: resolved.file ?? null,
    settings: Object.fromEntries(settings) as Record<string, { value: unknown; origin: string }>,
  };
}

function redact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, key === "credential" ? "(redacted)" : redact(inner)]),
  );
}
