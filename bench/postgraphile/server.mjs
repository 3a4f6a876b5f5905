// PostGraphile as its documentation runs it for throughput: cluster mode with one process per
// core, production mode, no websockets, no GraphiQL, role and claims per request from a JWT.

import cluster from "node:cluster";
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const settings = JSON.parse(process.env.BENCH_POSTGRAPHILE);

async function work() {
  const { postgraphile } = await import("postgraphile");
  const { grafserv } = await import("postgraphile/grafserv/node");
  const { makePgService } = await import("postgraphile/adaptors/pg");
  const { PostGraphileAmberPreset } = await import("postgraphile/presets/amber");
  const { PgLazyJWTPreset } = await import("postgraphile/presets/lazy-jwt");
  const instance = postgraphile({
    extends: [PostGraphileAmberPreset, PgLazyJWTPreset],
    pgServices: [
      makePgService({
        connectionString: settings.database_url,
        schemas: ["api"],
        pubsub: false,
        poolConfig: { max: settings.pool },
      }),
    ],
    grafserv: {
      watch: false,
      graphiql: false,
      websockets: false,
      pgJwtSecret: settings.jwt_secret,
    },
    grafast: { explain: false },
  });
  const server = createServer();
  server.keepAliveTimeout = 600_000;
  await instance.createServ(grafserv).addTo(server);
  // The schema is built before anybody is told the address.
  await instance.getSchema();
  server.listen(0, "127.0.0.1");
}

function lead() {
  let listening = 0;
  cluster.on("listening", (_worker, address) => {
    listening += 1;
    if (listening === settings.workers) {
      const partial = `${settings.address_file}.partial`;
      writeFileSync(partial, `${address.address}:${address.port}`);
      renameSync(partial, settings.address_file);
    }
  });
  // A worker that ends is not replaced: the figures would be of something else.
  cluster.on("exit", (worker, code, signal) => {
    if (worker.exitedAfterDisconnect) return;
    console.error(`worker ended: ${signal ?? code}`);
    process.exit(1);
  });
  process.on("SIGTERM", () => process.exit(0));
  for (let i = 0; i < settings.workers; i += 1) cluster.fork();
}

if (cluster.isPrimary) lead();
else await work();
