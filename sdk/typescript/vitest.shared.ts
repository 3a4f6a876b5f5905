import { fileURLToPath } from "node:url";

const source = (file: string) => fileURLToPath(new URL(`./src/${file}`, import.meta.url));

/** Examples import the package by its name. */
export const alias = [
  { find: /^@rolegate\/client$/, replacement: source("index.ts") },
  { find: /^@rolegate\/client\/callbacks$/, replacement: source("callbacks.ts") },
  { find: /^@rolegate\/client\/tanstack-db$/, replacement: source("tanstack-db.ts") },
];
