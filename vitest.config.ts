import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/bench/**", "test/soak/**"],
    pool: "forks",
    // Two cores: integration tests start processes of their own.
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
