import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Server } from "./development.js";

/** A gateway of its own on a development server's database, for pages of one origin. */
export class Gateway {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(server: Server, origin: string): Promise<Gateway> {
    const [port, metrics] = [await freePort(), await freePort()];
    const config = join(server.folder, "rolegate.toml");
    await writeFile(
      config,
      `[gateway]
bind = "127.0.0.1:${port}"
allowed_origins = ["${origin}"]
[metrics]
bind = "127.0.0.1:${metrics}"
[databases.app]
url = "${server.database()}"
schemas = ["api"]
anonymous = true
[databases.app.query]
answers = "public"
`,
    );
    const child = spawn(Server.program(), ["serve", "gateway", "--config", config], {
      stdio: ["ignore", "ignore", "pipe"],
      env: Server.environment(),
    });
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += chunk;
    });
    const ready = async () => {
      const answer = await fetch(`http://127.0.0.1:${metrics}/readyz`).catch(() => undefined);
      return answer?.ok ?? false;
    };
    for (let tries = 0; !(await ready()); tries++) {
      if (tries > 100 || child.exitCode !== null) throw new Error(`the gateway is not ready:\n${said}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return new Gateway(child, `http://127.0.0.1:${port}`);
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    if (this.#child.exitCode === null) await once(this.#child, "exit");
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}
