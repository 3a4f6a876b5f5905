import { defineConfig } from "vitest/config";
import { alias } from "./vitest.shared.js";

/** Against a real `rolegate dev`: ROLEGATE_BIN says which program. */
export default defineConfig({
  resolve: { alias },
  test: {
    include: ["test/server/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
