import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import postgres from "postgres";
import type { Development } from "../../examples/queries.js";

/** `rolegate dev --example expenses`, of its own, on any free ports. */
export class Server {
  readonly #child: ChildProcess;
  readonly folder: string;
  readonly record: Development & { database_url: string };
  /** The cluster's superuser. */
  readonly sql: postgres.Sql;

  private constructor(child: ChildProcess, folder: string, record: Server["record"]) {
    this.#child = child;
    this.folder = folder;
    this.record = record;
    // A socket: libpq's URL without a host is none to everybody else.
    const url = new URL(record.database_url.replace("@/", "@socket/"));
    this.sql = postgres({
      path: `${url.searchParams.get("host")}/.s.PGSQL.${url.searchParams.get("port")}`,
      username: url.username,
      database: url.pathname.slice(1),
      onnotice: () => {},
    });
  }

  /** `ROLEGATE_BIN` would be a key of the configuration for it. */
  static environment(): NodeJS.ProcessEnv {
    const { ROLEGATE_BIN: _, ...others } = process.env;
    return others;
  }

  static program(): string {
    const program = process.env.ROLEGATE_BIN;
    if (program) return program;
    throw new Error(
      "Set ROLEGATE_BIN to the program: `cargo build --bin rolegate`, then ROLEGATE_BIN=target/debug/rolegate.",
    );
  }

  /** With more flags, such as an address that is not any free one. */
  static async start(more: string[] = []): Promise<Server> {
    const program = Server.program();
    const folder = await mkdtemp(join(tmpdir(), "rolegate-sdk-"));
    // Started by root, the cluster runs as somebody else.
    await chmod(folder, 0o711);
    const any = ["--gateway", "--console", "--callbacks", "--metrics"]
      .filter((flag) => !more.includes(flag))
      .flatMap((flag) => [flag, "127.0.0.1:0"]);
    const child = spawn(
      program,
      ["dev", "--example", "expenses", "--data-dir", join(folder, "dev"), ...any, ...more],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: Server.environment(),
      },
    );
    const said: string[] = [];
    child.stderr.on("data", (chunk) => said.push(String(chunk)));
    const ready = new Promise<void>((resolve, reject) => {
      createInterface(child.stdout).on("line", (line) => {
        said.push(`${line}\n`);
        if (line === "ready") resolve();
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`${program} dev ended:\n${said.join("")}`)));
    });
    try {
      await ready;
      const record = JSON.parse(await readFile(join(folder, "dev/dev.json"), "utf8"));
      return new Server(child, folder, record);
    } catch (error) {
      child.kill("SIGTERM");
      throw error;
    }
  }

  token(name: string): string {
    const user = this.record.users[name];
    if (!user) throw new Error(`there is no ${name}`);
    return user.token;
  }

  /** The database as this login. Each surface has its own, and leaves that to the program. */
  database(login = ""): string {
    return this.record.database_url.replace(/\/\/[^@]*@/, login === "" ? "//" : `//${login}@`);
  }

  /** Runs a command of the program on this database, as this login. */
  async command(login: string, ...words: string[]): Promise<string> {
    const all = [...words, "--database", this.database(login)];
    const { stdout } = await promisify(execFile)(Server.program(), all, { env: Server.environment() });
    return stdout.trim();
  }

  async stop(): Promise<void> {
    await this.sql.end({ timeout: 1 });
    this.#child.kill("SIGTERM");
    if (this.#child.exitCode === null) await once(this.#child, "exit");
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The statements of a page of the guide. */
export async function statements(page: string): Promise<string> {
  const text = await readFile(new URL(`../../../../docs/guide/${page}`, import.meta.url), "utf8");
  return [...text.matchAll(/^```sql tested\n(.*?)^```$/gms)].map(([, block]) => block).join("\n");
}
