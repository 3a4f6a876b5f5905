// pg-boss, with its batches: fetch up to 256 jobs, run them, complete them in one call. Where one
// job at a time is timed, its own worker with LISTEN/NOTIFY instead.

import pg from "pg";
import { PgBoss } from "pg-boss";
import { installedVersion, main } from "./adapter-lib.mjs";

const version = installedVersion("pg-boss");

const BATCH = 256;
// Workers for which there is one loop of fetch, run, complete.
const WORKERS_OF_A_LOOP = 16;
const IDLE_MS = 20;

async function started(connectionString, max, more = {}) {
  const boss = new PgBoss({ connectionString, max, ...more });
  boss.on("error", (error) => console.error(error.message));
  await boss.start();
  return boss;
}

const single = async (boss, client, queue, payload) => {
  await client.query("begin");
  const db = { executeSql: (text, values) => client.query(text, values) };
  await boss.send(queue, payload, { db });
  await client.query("commit");
};

// It only makes SQL for the transactions of `single`.
let sender;

main(() => ({
  about: ["pg-boss", version],

  async install(url, queues) {
    const boss = await started(url, 5);
    for (const queue of queues) await boss.createQueue(queue);
    await boss.stop({ graceful: false });
  },

  async open(url, pool) {
    let opened;
    const boss = async () => (opened ??= await started(url, pool));
    return {
      async enqueue(queue, payloads) {
        await (await boss()).insert(queue, payloads.map((data) => ({ data })));
      },
      async pending() {
        const text = "select count(*)::int as jobs from pgboss.job where state < 'completed'";
        const { rows } = await (await boss()).getDb().executeSql(text);
        return rows[0].jobs;
      },
      async start(workers, queues, handle, latency) {
        if (latency) {
          opened = await started(url, pool, { useListenNotify: true });
          for (const queue of queues) {
            await opened.updateQueue(queue, { notify: true });
            await opened.work(queue, { pollingIntervalSeconds: 0.5 }, async (jobs) => {
              for (const job of jobs) handle(job.data);
            });
          }
          return () => opened.offWork(queues[0]);
        }
        const running = await boss();
        let stopped = false;
        const loop = async (number) => {
          let turn = number;
          while (!stopped) {
            let found = false;
            for (let n = 0; n < queues.length && !stopped; n++) {
              const queue = queues[turn++ % queues.length];
              const jobs = await running.fetch(queue, { batchSize: BATCH });
              if (!jobs.length) continue;
              found = true;
              for (const job of jobs) handle(job.data);
              await running.complete(queue, jobs.map((job) => job.id));
            }
            if (!found) await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
          }
        };
        const loops = Array.from({ length: Math.ceil(workers / WORKERS_OF_A_LOOP) }, (_, n) => loop(n));
        return async () => {
          stopped = true;
          await Promise.all(loops);
        };
      },
      async close() {
        await opened?.stop({ graceful: false });
      },
    };
  },

  async connect(url) {
    sender ??= await started(url, 2, { supervise: false, schedule: false });
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return client;
  },

  single: (client, queue, payload) => single(sender, client, queue, payload),
}));
