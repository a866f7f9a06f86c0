import type { z } from "zod";
import type { ControlHandler } from "../drivers/control.ts";
import { StarlingError } from "../errors.ts";

/** A control command whose parameters are checked before it is carried out. */
export function checked<Input>(
  schema: z.ZodType<Input>,
  handle: (input: Input, emit: (event: unknown) => void, signal: AbortSignal) => Promise<unknown>,
): ControlHandler {
  return async (parameters, emit, signal) => {
    const parsed = schema.safeParse(parameters);
    if (parsed.success) return handle(parsed.data, emit, signal);
    const issue = parsed.error.issues[0];
    throw new StarlingError("usage", `${issue?.path.join(".") || "parameters"}: ${issue?.message ?? "not valid"}`);
  };
}
