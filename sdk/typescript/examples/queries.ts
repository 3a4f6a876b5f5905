import { type Client, createClient, RolegateError } from "@rolegate/client";

/** What `rolegate dev` writes into `.rolegate/dev.json`, as far as it is read here. */
export interface Development {
  gateway_url: string;
  database: string;
  users: { [name: string]: { token: string } };
}

export function connect(development: Development): Client {
  const client = createClient({
    url: development.gateway_url,
    database: development.database,
    token: async () => development.users.alice?.token ?? "",
  });
  return client;
}

export interface Claim {
  id: number;
  purpose: string;
  amount: number;
}

export async function query(client: Client): Promise<Claim[]> {
  const claims = await client.query<Claim>(
    "select id, purpose, amount from app.expense_claim where amount > $1 order by id",
    [10],
  );
  return claims;
}

export async function lines(client: Client): Promise<number> {
  let total = 0;
  const rows = await client.query<Claim>("select amount from app.expense_claim", [], { format: "ndjson" });
  for await (const { amount } of rows) total += amount;
  return total;
}

export async function submit(client: Client, key: string): Promise<Claim> {
  const claim = await client.call<Claim>(
    "submit_claim",
    { amount: "12.50", purpose: "train" },
    { idempotencyKey: key },
  );
  return claim;
}

export async function refused(client: Client): Promise<string> {
  try {
    await client.call("submit_claim", { amount: -1, purpose: "nothing" });
  } catch (error) {
    if (error instanceof RolegateError && error.sqlstate === "23514") return `no: ${error.message}`;
    throw error;
  }
  return "yes";
}
