import type { Client, LiveQuery } from "@rolegate/client";
import type { Claim } from "./queries.js";

/** Until there is a claim for this. */
export async function watch(client: Client, purpose: string): Promise<Claim | undefined> {
  const live = client.live<Claim>(
    "select id, purpose, amount from app.expense_claim order by id desc limit 50",
  );
  for await (const claims of live) {
    const wanted = claims.find((claim) => claim.purpose === purpose);
    if (wanted) return wanted;
  }
  return undefined;
}

/** The same with callbacks. */
export function follow(client: Client, show: (text: string) => void): LiveQuery<Claim> {
  const live = client.live<Claim>(
    "select id, purpose, amount from app.expense_claim where amount > $1",
    [10],
    {
      onUpdate: ({ rows, changes }) => show(`${rows.length} claims, ${changes.length} changed`),
      onStatus: (status, error) => show(error ? `${status}: ${error.message}` : status),
      onError: (error) => show(`ended: ${error.code}`),
    },
  );
  return live;
}

/** Adds a claim, and waits until the live query has it. */
export async function add(client: Client, live: LiveQuery<Claim>): Promise<number> {
  const added = await client.call<{ id: number; txid: string }>("add_claim", {
    amount: 30,
    purpose: "dinner",
  });
  await live.awaitTxid(added.txid);
  return added.id;
}
