// graphile-worker. A queue of the bench is a task identifier of its own: what graphile-worker calls
// a queue runs its jobs one after the other. Variants: its defaults, and `batched`, the settings of
// its own performance page.

import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";
import pg from "pg";
import { installedVersion, main } from "./adapter-lib.mjs";

const version = installedVersion("graphile-worker");

const logger = new Logger(() => (level, message) => {
  if (level === "error") console.error(message);
});

// As on the page: the jobs of one fetch, and completions of the same turn of the event loop in one
// statement.
const BATCHED = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };

const ADD_JOB = "select graphile_worker.add_job($1, $2::json)";

main((variant) => ({
  about: [variant === "batched" ? "graphile-worker, local queue and batches" : "graphile-worker", version],

  async install(connectionString) {
    await runMigrations({ preset: { worker: { connectionString } }, logger });
  },

  async open(connectionString, pool) {
    let utils;
    return {
      async enqueue(queue, payloads) {
        utils ??= await makeWorkerUtils({ connectionString, logger, noPreparedStatements: false });
        await utils.addJobs(payloads.map((payload) => ({ identifier: queue, payload })));
      },
      async pending() {
        utils ??= await makeWorkerUtils({ connectionString, logger, noPreparedStatements: false });
        // A finished job is a deleted row.
        const { rows } = await utils.withPgClient((client) =>
          client.query("select count(*)::int as jobs from graphile_worker._private_jobs"));
        return rows[0].jobs;
      },
      async start(workers, queues, handle) {
        const task = async (payload) => { handle(payload); };
        const runner = await run({
          preset: {
            worker: {
              connectionString,
              concurrentJobs: workers,
              maxPoolSize: pool,
              ...(variant === "batched" ? BATCHED : {}),
            },
          },
          logger,
          noHandleSignals: true,
          taskList: Object.fromEntries(queues.map((queue) => [queue, task])),
          parsedCronItems: [],
        });
        return () => runner.stop();
      },
      async close() {
        await utils?.release();
      },
    };
  },

  async connect(connectionString) {
    const client = new pg.Client({ connectionString });
    await client.connect();
    return client;
  },

  async single(client, queue, payload) {
    await client.query("begin");
    await client.query({ name: "add_job", text: ADD_JOB, values: [queue, JSON.stringify(payload)] });
    await client.query("commit");
  },
}));
