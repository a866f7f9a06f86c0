/** How a scenario is run. */
export interface ScenarioOptions {
  readonly nodes: number;
  readonly seed: number;
  /** Whether what depends on the machine (time, memory) counts as a failure too. */
  readonly check?: boolean;
}

/** What a scenario found. */
export interface ScenarioOutcome {
  /** Virtual time that passed, ms. */
  readonly simulatedMs: number;
  /** Equal for equal options, always. */
  readonly digest: string;
  /** What was wrong, in sentences; empty when all held. */
  readonly failures: readonly string[];
  /** What it measured, by name. */
  readonly figures: Readonly<Record<string, number | string>>;
}

/** A run that can be repeated by name: `npm run sim -- --scenario NAME --nodes N --seed S`. */
export interface Scenario {
  readonly name: string;
  /** One line for the list. */
  readonly summary: string;
  /** Nodes when none are asked for. */
  readonly nodes: number;
  run(options: ScenarioOptions): ScenarioOutcome;
}
