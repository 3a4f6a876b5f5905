import { defineConfig } from "vitest/config";
import { alias } from "./vitest.shared.js";

/** What needs no server. */
export default defineConfig({
  resolve: { alias },
  test: { include: ["test/*.test.ts"], testTimeout: 10_000 },
});
