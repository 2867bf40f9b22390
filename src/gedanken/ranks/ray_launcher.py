"""Ranks on the nodes of a Ray cluster. The only file that imports ray.

    python -m gedanken.ranks.ray_launcher RANKS SECONDS [MPIEXEC COMMAND ...]

Ray says where there is room and runs one task on each node that gets ranks; what the ranks say to each other goes by
MPI as ever. MPICH's launcher makes that possible: asked to, it starts nothing, but prints for each node the command of
a proxy, which then connects to it and starts the ranks there. So no ssh is needed. This is a process of its own beside
`gedanken launch`, which watches and ends it as it does MPI's launcher.
"""

import contextlib
import importlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from gedanken.checks import require
from gedanken.errors import GedankenError, MissingPackageError
from gedanken.ranks.joined import RANKS

PROXY, LAST_PROXY = "HYDRA_LAUNCH: ", "HYDRA_LAUNCH_END"  # how MPICH's launcher begins the lines that it prints
CONNECTED = 30.0  # seconds in which a cluster answers
ROOM = 60.0  # seconds in which Ray finds room for all ranks: clusters that grow add a node meanwhile
ROOM_AGAIN = 15.0  # the same where fewer would do
PROGRAM = [sys.executable, "-m", "gedanken.ranks.ray_launcher"]
LOOK = 0.2  # seconds between two looks at the tasks
ENDING = 1.0  # seconds in which MPI's launcher may end the ranks by itself
LOST = 1  # the exit status where a node's task is lost


def command_by_ray(mpiexec: str, ranks: int, own: Sequence[str]) -> list[str]:
    """Return the command that starts ranks on the nodes of a Ray cluster.

    Args:
        mpiexec: MPI's launcher.
        ranks: how many.
        own: what each rank runs.

    Raises:
        MissingPackageError: there is no ray.
        ArgumentError: the MPI is not MPICH, whose launcher alone can leave starting to others.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingPackageError("--ray needs Ray: pip install ray")
    version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - the user's MPI
    require("HYDRA" in version, "--ray", "come with MPICH's mpiexec: pip install gedanken[mpi]", mpiexec)
    return [*PROGRAM, str(ranks), str(ROOM), mpiexec, *own]


class Room(NamedTuple):
    """What a cluster has.

    Args:
        ranks: for how many ranks there is room.
        address: of this node, by which the others reach it; "" where no cluster answers.
    """

    ranks: int
    address: str


def room_for(ranks: int, seconds: float = ROOM_AGAIN) -> Room:
    """Return for how many of some ranks a Ray cluster has room, within some time for all, and again for those left."""
    done = subprocess.run([*PROGRAM, str(ranks), str(seconds)], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - this file
    found, _, address = done.stdout.strip().rpartition("\n")[2].partition(" ")
    return Room(0, "") if done.returncode else Room(int(found), address)


class Node(NamedTuple):
    """A node of the cluster that gets ranks.

    Args:
        name: Ray's.
        bundle: which of the reserved processors its task holds.
        ranks: how many it gets.
    """

    name: str
    bundle: int
    ranks: int


def main() -> int:
    """Run ranks, and return the exit status of MPI's launcher; without a command, print what Room has."""
    ranks, seconds, *command = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    ray = importlib.import_module("ray")
    given_up = threading.Timer(CONNECTED, _give_up)  # Ray itself would try for ever
    given_up.start()
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        _give_up()
    given_up.cancel()
    address = importlib.import_module("ray.util").get_node_ip_address()
    try:
        signal.signal(signal.SIGTERM, _end)  # Ray has set one of its own
        if command:
            return _run(ray, address, _group(int(ranks), float(seconds)), command)
        sys.stdout.write(f"{_room(ray, int(ranks), float(seconds))} {address}\n")
        return 0
    except GedankenError as error:
        sys.stderr.write(f"{error}\n")
        return LOST
    finally:
        ray.shutdown()


def _end(number: int, _: Any) -> None:
    sys.exit(128 + number)


def _give_up() -> NoReturn:
    sys.stderr.write("no Ray cluster answers here: ray start --head, or set RAY_ADDRESS\n")
    sys.stderr.flush()
    os._exit(LOST)


def _group(ranks: int, seconds: float) -> Any:
    """Let Ray reserve a processor for each rank, and return what it calls them together.

    Raises:
        GedankenError: there is no room within so many seconds.
    """
    util = importlib.import_module("ray.util")
    group = util.placement_group([{"CPU": 1}] * ranks, strategy="PACK")
    if group.wait(seconds):
        return group
    util.remove_placement_group(group)
    raise GedankenError(f"Ray has found no processors for {ranks} ranks in {seconds:g} s")


def _room(ray: Any, ranks: int, seconds: float) -> int:
    while ranks:
        with contextlib.suppress(GedankenError):
            _group(ranks, seconds)
            break
        ranks = min(int(ray.available_resources().get("CPU", 0)), ranks - 1)
    return ranks


def _nodes(group: Any) -> list[Node]:
    places = importlib.import_module("ray.util").placement_group_table(group)["bundles_to_node_id"]
    first = {name: bundle for bundle, name in sorted(places.items(), reverse=True)}
    return [Node(name, first[name], count) for name, count in Counter(places.values()).items()]


def _run(ray: Any, address: str, group: Any, command: Sequence[str]) -> int:
    """Run ranks on reserved processors, and return the exit status of MPI's launcher."""
    mpiexec, *own = command
    nodes = _nodes(group)
    ranks = sum(node.ranks for node in nodes)
    places = ",".join(f"{node.name}:{node.ranks}" for node in nodes)
    words = [mpiexec, "-launcher", "manual", "-localhost", address, "-n", str(ranks), "-hosts", places, *own]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, RANKS: str(ranks)}) as process:  # noqa: S603 - the user's script
        try:
            proxies = _proxies(process)
            if len(proxies) != len(nodes):
                raise GedankenError(f"MPI's launcher printed {len(proxies)} commands for {len(nodes)} nodes")
            tasks = [_task(ray, group, *proxy) for proxy in zip(nodes, proxies, strict=True)]
            shown = threading.Thread(target=_shown, args=(process,), daemon=True)
            shown.start()
            status = _watched(ray, process, tasks)
            shown.join(ENDING)
            return status
        finally:
            _ended(process)


def _proxies(process: "subprocess.Popen[bytes]") -> list[list[str]]:
    """Return the commands that MPI's launcher prints, one for each node in their order."""
    assert process.stdout
    found = []
    for line in iter(process.stdout.readline, b""):
        text = line.decode().strip()
        if text == LAST_PROXY:
            break
        if text.startswith(PROXY):
            found.append(shlex.split(text.removeprefix(PROXY)))
    return found


def _task(ray: Any, group: Any, node: Node, command: list[str]) -> Any:
    """Let Ray run a proxy on its node; return Ray's promise of the exit status."""
    strategies = importlib.import_module("ray.util.scheduling_strategies")
    where = strategies.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node.bundle)

    def proxy() -> int:
        sweep = importlib.import_module("gedanken.ranks.ending").sweep
        # A session of its own: a proxy that loses MPI's launcher sends signals to all of its group.
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True}
        try:
            return subprocess.run(command, check=False, **how).returncode  # noqa: S603 - MPICH's own
        finally:
            sweep()

    return ray.remote(num_cpus=1, max_retries=0, scheduling_strategy=where)(proxy).remote()


def _shown(process: "subprocess.Popen[bytes]") -> None:
    """Show what the ranks print."""
    assert process.stdout
    while content := os.read(process.stdout.fileno(), 1 << 16):
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _watched(ray: Any, process: "subprocess.Popen[bytes]", tasks: Sequence[Any]) -> int:
    """Wait for the end of MPI's launcher, of who started this, or of a task: with it the ranks of its node are lost."""
    parent = os.getppid()
    while os.getppid() == parent:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(LOOK)
            return status if status >= 0 else 128 - status
        done, _ = ray.wait(tasks, num_returns=len(tasks), timeout=0)
        try:
            ray.get(done)
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()[-1].partition(". ")[0]
            sys.stderr.write(f"Ray lost the ranks of a node: {why}\n")
            break
    return LOST


def _ended(process: "subprocess.Popen[bytes]") -> None:
    """End MPI's launcher, and with it the proxies and ranks, whose connections close."""
    process.terminate()
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main())
