"""A PostgreSQL server of the tests: in a folder of its own, on this machine only."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

USER, PASSWORD = "tester", "p@ss w/ord: 100%"
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def postgres_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, under PATH or where Debian puts them."""
    found = shutil.which("initdb")
    folders = ([Path(found).resolve().parent] if found else []) + _BINARIES
    whole = (folder for folder in folders if (folder / "postgres").exists())
    return next((folder for folder in whole if (folder / "initdb").exists()), None)


class PostgresServer:
    """Starts a server; `url` names a ledger on it."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        # Not below pytest's folder, into which another user may not look.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres", dir="/tmp"))
        # PostgreSQL refuses to run as root.
        self._user = next(filter(_is_user, ("postgres", "nobody")), None) if _is_root() else None
        if self._user:
            shutil.chown(self.folder, self._user)
        secret = self.folder / "password"
        secret.write_text(PASSWORD + "\n")
        self._run(
            "initdb",
            *("--pgdata", self.folder / "data", "--username", USER, "--pwfile", secret),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        self.port = _free_port()
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        log = self.folder / "log"
        command = [self.binaries / "postgres", "-D", self.folder / "data", "-k", self.folder]
        command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self.folder, stderr=output, stdout=output
            )
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)

    def stop(self, *, crash: bool = False) -> None:
        """Ends the server and all its sessions; `crash` as if its machine lost its power."""
        if self._process is not None:
            # SIGQUIT: it writes nothing more, and recovers when it starts again.
            self._process.send_signal(3 if crash else 2)
            self._process.wait(60)
            self._process = None

    def url(self, name: str, *, user: str = USER, password: str | None = PASSWORD) -> str:
        credentials = user if password is None else f"{user}:{quoted(password)}"
        schema = re.sub("[^a-z0-9_]", "_", name.lower())
        return f"postgresql://{credentials}@127.0.0.1:{self.port}/postgres?ledger={schema}"

    @contextmanager
    def pooler(self, program: str, mode: str) -> Iterator[str]:
        """Starts PgBouncer before the server; its URL."""
        port, settings = _free_port(), self.folder / "pooler.ini"
        settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self.port} dbname=postgres user={USER} "
            f"password='{PASSWORD}'\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"auth_type = any\npool_mode = {mode}\nunix_socket_dir =\n"
        )
        process = subprocess.Popen(
            [program, settings], user=self._user, cwd=self.folder, stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 60
            while not _listens(port):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _is_ready(self) -> bool:
        command = [self.binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command).returncode == 0

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.binaries / program), *map(str, arguments)]
        done = subprocess.run(
            command, user=self._user, cwd=self.folder, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)


def quoted(password: str) -> str:
    return "".join(f"%{byte:02X}" for byte in password.encode())


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _is_root() -> bool:
    return os.geteuid() == 0


def _is_user(name: str) -> bool:
    return name in {entry.pw_name for entry in pwd.getpwall()}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
