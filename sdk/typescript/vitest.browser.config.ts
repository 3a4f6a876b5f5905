import { defineConfig } from "vitest/config";

/** From a page in Chromium, against a real `rolegate dev`. */
export default defineConfig({
  test: {
    include: ["test/browser/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
