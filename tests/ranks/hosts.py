"""Two "hosts" on one machine, for tests and benchmarks: namespaces with a network between them.

Each has its own network, processes, name, /etc/hosts, /dev/shm and /var/tmp; a pair of veth joins them. In place of ssh
there is a small server on each, which runs what the agent asks it for over that network: a link that is down stops it,
as it would stop ssh. The namespaces, and whatever runs there, end with the process that made them, however it ends.

As a program, `python hosts.py serve` is a host's first process, and `python hosts.py HOST COMMAND...` the agent.
"""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PORT = 2222  # of the server, where ssh would have 22
ADDRESSES = {"first": ("10.177.0.1", "fd77::1"), "second": ("10.177.0.2", "fd77::2")}  # by both families
TOOLS = ("ip", "unshare", "nsenter", "mount")


def missing() -> str:
    """Return what this machine lacks for such hosts, or ""."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    without = [tool for tool in TOOLS if shutil.which(tool) is None]
    if without:
        return f"needs {', '.join(without)}"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "needs namespaces, which this machine does not give"


class Host:
    """One of the two."""

    def __init__(self, name: str, folder: Path, table: Path) -> None:
        self.name = name
        inside = [
            f"mount --bind {shlex.quote(str(table))} /etc/hosts",
            "mount -t tmpfs none /dev/shm",
            "mount -t tmpfs none /var/tmp",
            "mount -t sysfs none /sys",
            "ip link set lo up",
            f"echo {name} > /proc/sys/kernel/hostname",
            f"exec {shlex.join([sys.executable, __file__, 'serve'])}",
        ]
        own = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._log = (folder / f"{name}.log").open("wb")
        self._keeper = subprocess.Popen(
            ["unshare", *own, "sh", "-c", " && ".join(inside)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._keeper.stdout
        if self._keeper.stdout.readline() != b"ready\n":
            raise RuntimeError((folder / f"{name}.log").read_text())
        children = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children")
        self.process = int(children.read_text().split()[0])  # the first process in there, as it is called out here

    def __call__(self, *command: str) -> list[str]:
        """Return the command that runs a command there."""
        return ["nsenter", "-t", str(self.process), "-n", "-m", "-u", "-i", "-p", "--", *command]

    def run(self, *command: str) -> str:
        """Run a command there to its end, and return what it prints."""
        return subprocess.run(self(*command), capture_output=True, text=True, check=True).stdout

    def processes(self) -> list[str]:
        """Return the commands that run there, but for the server."""
        found = []
        for one in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                same = os.readlink(one / "ns/pid") == os.readlink(f"/proc/{self.process}/ns/pid")
                words = (one / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if same and one.name != str(self.process) and words:
                    found.append(words)
        return found

    def lose(self) -> None:
        """End everything there at once: the first process takes all others, and the network, with it."""
        self._keeper.kill()
        self._keeper.wait()
        for stream in (self._keeper.stdin, self._keeper.stdout, self._log):
            if stream:
                stream.close()


class Hosts:
    """Both, and the link between them."""

    def __init__(self, folder: Path, rate: str) -> None:
        table = folder / "hosts"
        own = "127.0.0.1 localhost\n::1 localhost\n"
        table.write_text(own + "".join(f"{addresses[0]} {name}\n" for name, addresses in ADDRESSES.items()))
        self._made = list[Host]()
        try:
            for name in ADDRESSES:
                self._made.append(Host(name, folder, table))
            self._join(rate)
        except BaseException:
            self.close()
            raise
        self.first, self.second = self._made
        agent = folder / "agent"
        agent.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__])} "$@"\n')
        agent.chmod(0o755)
        self.environment = {
            **os.environ,
            "TMPDIR": "/var/tmp",
            "HYDRA_LAUNCHER_EXEC": str(agent),
            "OMPI_MCA_plm_ssh_agent": str(agent),
            "PRTE_MCA_plm_ssh_agent": str(agent),
        }

    def _join(self, rate: str) -> None:
        first, second = self._made
        ends = [
            "veth",
            "netns",
            str(first.process),
            "type",
            "veth",
            "peer",
            "name",
            "veth",
            "netns",
            str(second.process),
        ]
        subprocess.run(["ip", "link", "add", *ends], check=True)
        for host in self._made:
            four, six = ADDRESSES[host.name]
            host.run("ip", "address", "add", f"{four}/24", "dev", "veth")
            host.run("ip", "address", "add", f"{six}/64", "dev", "veth", "nodad")
            host.run("ip", "link", "set", "veth", "up")
            if rate:
                limit = ["tbf", "rate", rate, "burst", "256kb", "latency", "50ms"]
                host.run("tc", "qdisc", "add", "dev", "veth", "root", *limit)
        for host in self._made:  # the kernel says so late, and MPI takes no link that seems to be down
            host.run("sh", "-c", "until grep -q up /sys/class/net/veth/operstate; do sleep 0.02; done")

    def start(self, *command: str, **how: Any) -> "subprocess.Popen[str]":
        """Start a command on the first."""
        return subprocess.Popen(self.first(*command), env=self.environment, text=True, **how)

    def part(self) -> None:
        """Let nothing through between the two."""
        self.second.run("ip", "link", "set", "veth", "down")

    def close(self) -> None:
        """End both, and whatever runs there."""
        for host in self._made:
            host.lose()


@contextlib.contextmanager
def two_hosts(folder: Path, rate: str = "") -> Iterator[Hosts]:
    """Give two hosts, "first" and "second", that reach each other by these names and by an agent in place of ssh.

    Args:
        folder: for small files.
        rate: of the link in each direction, as `tc` has it: "1gbit"; "": no limit.
    """
    hosts = Hosts(folder, rate)
    try:
        yield hosts
    finally:
        hosts.close()


def serve() -> None:
    """Run what agents ask for, until standard input, which the maker of the hosts holds, is closed."""
    listening = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    os.write(1, b"ready\n")
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    environment = {"TMPDIR": "/var/tmp", **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}}
    threading.Thread(target=_reap, daemon=True).start()
    while True:
        agent, _ = listening.accept()
        command = b""
        while not command.endswith(b"\0"):
            command += agent.recv(1) or b"\0"
        words = ["/bin/sh", "-c", command[:-1].decode()]
        if os.fork() == 0:
            os.setsid()
            for number in range(3):
                os.dup2(agent.fileno(), number)
            os.closerange(3, 64)
            os.execve(words[0], words, environment)
        agent.close()


def _reap() -> None:
    while True:
        with contextlib.suppress(ChildProcessError):
            os.wait()
        threading.Event().wait(0.02)


def ask(host: str, command: str) -> None:
    """Run a command on a host as ssh does: standard input goes there, what is written comes back."""
    there = socket.create_connection((host, PORT))
    there.sendall(command.encode() + b"\0")

    def forward() -> None:
        while data := os.read(0, 65536):
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)

    threading.Thread(target=forward, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := there.recv(65536):
            os.write(1, data)
    os._exit(0)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "-x"]
    if words == ["serve"]:
        serve()
    else:
        ask(words[0], " ".join(words[1:]))
