import type { Client } from "@rolegate/client";
import { collectionOptions } from "@rolegate/client/tanstack-db";
import { createCollection } from "@tanstack/db";
import type { Claim } from "./queries.js";

export function claims(client: Client) {
  const collection = createCollection(
    collectionOptions<Claim, number>({
      client,
      sql: "select id, purpose, amount from app.expense_claim order by id desc",
      getKey: (claim) => claim.id,
      onInsert: async ({ transaction }) => {
        const written = transaction.mutations.map(({ modified: { amount, purpose } }) =>
          client.call<{ txid: string }>("add_claim", { amount, purpose }),
        );
        return { txid: (await Promise.all(written)).map(({ txid }) => txid) };
      },
    }),
  );
  return collection;
}
