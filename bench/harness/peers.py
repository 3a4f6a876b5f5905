"""The other HTTP servers: a bare axum handler, and PostGraphile from the npm registry."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import time
from pathlib import Path

from .children import Failed, run
from .http_load import ARGUMENT, HttpTarget

BENCH = Path(__file__).resolve().parent.parent

# As many connections over all of its processes as the gateway has for one role.
POSTGRAPHILE_CONNECTIONS = 16


def wait_for_address(children, name, path, timeout=60):
    deadline = time.monotonic() + timeout
    while not path.exists():
        children.check()
        if time.monotonic() > deadline:
            raise Failed(f"{name} did not start:\n{children.tail(name)}")
        time.sleep(0.05)
    return path.read_text().strip()


def bare(children, binary, load, work_dir, answer, body, path, headers=()):
    """Answers with the body that ours answered; under `/same` with these headers, too."""
    answer_file = work_dir / "bare.answer"
    answer_file.write_text(answer)
    headers_file = work_dir / "bare.headers"
    headers_file.write_text("".join(f"{name}: {value}\n" for name, value in headers))
    address_file = work_dir / "bare.address"
    address_file.unlink(missing_ok=True)
    children.start("bare", [binary, "--answer", answer_file, "--headers", headers_file, "--address-file", address_file])
    address = wait_for_address(children, "bare", address_file)
    return HttpTarget("bare", load, work_dir, address, path, body)


def install_postgraphile(work_dir):
    """`npm ci` of the committed lock file, once for each content of it."""
    target = work_dir / "postgraphile"
    target.mkdir(exist_ok=True)
    lock = (BENCH / "postgraphile" / "package-lock.json").read_bytes()
    digest = hashlib.sha256(lock).hexdigest()
    stamp = target / "installed"
    for name in ("package.json", "package-lock.json", ".npmrc", "server.mjs"):
        shutil.copy(BENCH / "postgraphile" / name, target / name)
    if not stamp.exists() or stamp.read_text() != digest:
        stamp.unlink(missing_ok=True)
        run(["npm", "ci", "--no-audit", "--no-fund"], cwd=target, timeout=580)
        stamp.write_text(digest)
    return target


def postgraphile(children, load, work_dir, server):
    """One process per core; role and claims of each request come from a JWT."""
    directory = install_postgraphile(work_dir)
    node = directory / "node_modules" / "node" / "bin" / "node"
    address_file = work_dir / "postgraphile.address"
    address_file.unlink(missing_ok=True)
    workers = os.cpu_count() or 1
    jwt_secret = secrets.token_hex(32)
    settings = {
        "database_url": server.url("bob"),
        "pool": max(1, POSTGRAPHILE_CONNECTIONS // workers),
        "workers": workers,
        "jwt_secret": jwt_secret,
        "address_file": str(address_file),
    }
    environment = server.environment("bob") | {
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
        "BENCH_POSTGRAPHILE": json.dumps(settings),
    }
    children.start("postgraphile", [node, "server.mjs"], env=environment, cwd=directory)
    address = wait_for_address(children, "postgraphile", address_file)
    body = {
        "query": "query($a: JSON!) { echo(a: $a) }",
        "variables": {"a": json.loads(ARGUMENT)},
    }
    claims = {"role": "alice", "sub": "alice", "aud": "postgraphile"}
    token = hs256(claims | {"exp": int(time.time()) + 86400}, jwt_secret)
    return HttpTarget(
        "postgraphile", load, work_dir, address, "/graphql", body,
        [f"authorization: Bearer {token}"],
    )


def postgraphile_versions():
    dependencies = json.loads((BENCH / "postgraphile" / "package.json").read_text())["dependencies"]
    return dependencies["postgraphile"], dependencies["node"]


def hs256(claims, secret):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + part(json.dumps(claims).encode())
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(mac)).decode()
