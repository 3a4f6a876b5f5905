import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server as Pages } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { createClient as create, LiveQuery } from "../../src/index.js";
import { Server } from "../support/development.js";
import { Gateway } from "../support/gateway.js";

const dist = new URL("../../dist/", import.meta.url);

const HTML = `<!doctype html>
<link rel="icon" href="data:,">
<script type="module">import { createClient } from "/page/index.js"; globalThis.createClient = createClient;</script>
`;

/** What the page has. */
declare global {
  var createClient: typeof create;
  var live: LiveQuery;
}

let browser: Browser;
let server: Server;
let gateway: Gateway | undefined;
const pages: Pages[] = [];

beforeAll(async () => {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    throw new Error(
      `There is no ${executablePath}: install Debian's chromium, or say in CHROMIUM where one is.`,
    );
  }
  server = await Server.start();
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});
afterAll(async () => {
  await browser?.close();
  for (const server of pages) server.close();
  await gateway?.stop();
  await server?.stop();
});

/** A page of the gateway's own origin, with the client as it is published. */
async function ownPage(origin: string): Promise<Page> {
  const opened = await browser.newPage();
  await opened.route(`${origin}/page/**`, async (route) => {
    const [contentType, body] = await file(route.request().url());
    await route.fulfill({ contentType, body });
  });
  await opened.goto(`${origin}/page/`);
  return opened;
}

/** The origin of a server that has the page. */
async function origin(): Promise<string> {
  const server = createServer(async (request, response) => {
    const [type, body] = await file(request.url ?? "");
    response.writeHead(200, { "content-type": type }).end(body);
  });
  pages.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function file(url: string): Promise<[string, string]> {
  const path = /\/page\/(.+\.js)$/.exec(url)?.[1];
  if (!path) return ["text/html", HTML];
  return ["text/javascript", await readFile(new URL(path, dist), "utf8")];
}

test("a page follows a live query", async () => {
  const { gateway_url: url, database } = server.record;
  const opened = await ownPage(url);
  const options = { url, database, token: server.token("alice") };
  await opened.evaluate(async (options) => {
    globalThis.live = globalThis.createClient(options).live("select id, purpose from app.expense_claim");
  }, options);
  await opened.waitForFunction(() => globalThis.live.status === "live" && globalThis.live.rows.length > 0);
  await opened.evaluate(async (options) => {
    await globalThis.createClient(options).call("submit_claim", { amount: 3, purpose: "from the page" });
  }, options);
  await opened.waitForFunction(() => globalThis.live.rows.some((row) => row.purpose === "from the page"));
  await opened.evaluate(() => globalThis.live.close());
});

test("a page of an origin that is listed may query and call, another may not", async () => {
  const [listed, other] = [await origin(), await origin()];
  gateway = await Gateway.start(server, listed);
  // The development server's tokens are its own.
  await server.sql`grant alice to operator`;
  const token = await server.command("operator", "token", "mint", "alice", "--days", "1");
  const options = { url: gateway.url, database: server.record.database, token };
  const ask = async (origin: string) => {
    const opened = await browser.newPage();
    await opened.goto(`${origin}/page/`);
    return opened.evaluate(async (options) => {
      const client = globalThis.createClient(options);
      const code = (error: { code?: string }) => error.code;
      const rows = await client
        .query("select distinct claimant from app.expense_claim where amount > $1", [0])
        .catch(code);
      const called = await client.call("my_claims", { status: "paid" }).catch(code);
      const missing = await client.call("no_such").catch(code);
      return { rows, called, missing };
    }, options);
  };
  expect(await ask(listed)).toEqual({
    rows: [{ claimant: "alice" }],
    called: expect.any(Array),
    missing: "function_not_found",
  });
  expect(await ask(other)).toEqual({
    rows: "client_unreachable",
    called: "client_unreachable",
    missing: "client_unreachable",
  });
});
