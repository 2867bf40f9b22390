"""Writing files: what becomes of the file that is replaced, of folders, of what other programs do meanwhile."""

import errno
import os
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gedanken import FullyConnectedLayer, Network
from gedanken.files import check_writable, replace_file, replacing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, links and special files of POSIX")
OLD, NEW = b"old", b"new content"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def everything(folder: Path) -> dict[str, Any]:
    """Return all that lies in a folder: kind, mode and content."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def assert_refused(path: object, kind: type[OSError], folder: Path, words: str = ".") -> None:
    """Both the check before the work and the writing refuse a path, name it, and leave everything as it was."""
    before = everything(folder)
    for call in (check_writable, lambda name: replace_file(name, NEW)):
        with pytest.raises(kind, match=words) as caught:
            call(str(path))
        assert caught.value.filename == str(path)
        assert everything(folder) == before


# ------------------------------------------------------------------ what is replaced


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666, 0o755, 0o200])
def test_a_file_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(mode)
    replace_file(str(path), NEW)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
def test_a_new_file_has_the_mode_that_the_user_wants(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        replace_file(str(tmp_path / "file"), NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_nobody_reads_a_private_file_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "file").chmod(0o600)
    with replacing(str(tmp_path / "file")) as file:
        file.write(NEW)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    replace_file(str(path), NEW)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)


def test_a_file_keeps_its_attributes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    try:
        os.setxattr(path, "user.note", b"mine")
    except (AttributeError, OSError):
        pytest.skip("this file system has no attributes")
    replace_file(str(path), NEW)
    assert os.getxattr(path, "user.note") == b"mine"


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("there", [True, False], ids=["old file", "no file"])
def test_a_link_stays_and_its_target_is_replaced(steps: int, there: bool, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "file"
    if there:
        target.write_bytes(OLD)
        target.chmod(0o600)
    for step in range(steps):
        (tmp_path / f"link{step}").symlink_to(f"link{step + 1}" if step + 1 < steps else "far/file")
    check_writable(str(tmp_path / "link0"))
    replace_file(str(tmp_path / "link0"), NEW)
    assert (tmp_path / "link0").is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() == NEW
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["file"]


def test_other_names_of_a_file_keep_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(OLD)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    replace_file(str(tmp_path / "a"), NEW)
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (NEW, OLD)


def test_the_users_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    net = Network().input((2,)).add(FullyConnectedLayer(1)).regression(cost="mean_squared", engine="numpy")
    net.save("~/models/net")
    assert Network.load("~/models/net", engine="numpy").layers == net.layers
    assert os.listdir(tmp_path) == ["models"]


# ------------------------------------------------------------------ what is refused


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "file").chmod(0o444)
    assert_refused(tmp_path / "file", PermissionError, tmp_path, "is read-only")


@pytest.mark.parametrize("name", ["folder", "folder/", "folder/.", "new/", "file/", "file/net"])
def test_what_is_no_name_of_a_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(OLD)
    assert_refused(f"{tmp_path}/{name}", OSError, tmp_path)


@pytest.mark.parametrize(
    "name", ["x" * 256, "new/" + "ü" * 128, "a\0b", "\ud800", "ring", "new/" * 2000 + "x"], ids=ascii
)
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "ring").symlink_to("ring")
    assert_refused(f"{tmp_path}/{name}", OSError, tmp_path)


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(OSError, match="no name was given"):
        check_writable("")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("~nobody-of-this-name/net", "~nobody-of-this-name is no user's folder; .* written ./~nobody-of-this-name"),
        ("~nobody-of-this-name", "is no user's folder"),
        ("new/", "is the name of a folder; the name of a file is missing"),
        ("new/er/", "the name of a file is missing"),
        ("old/", "Is a directory"),
    ],
)
def test_a_name_that_is_no_files_makes_nothing(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    net = Network().input((2,)).add(FullyConnectedLayer(1)).regression(cost="mean_squared", engine="numpy")
    for write in (net.save, check_writable):
        with pytest.raises(OSError, match=message) as caught:
            write(name)
        assert caught.value.filename == name
    assert os.listdir(tmp_path) == ["old"]


def test_a_tilde_that_is_part_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file("./~nobody-of-this-name", NEW)
    assert (tmp_path / "~nobody-of-this-name").read_bytes() == NEW


def test_names_as_long_as_may_be(tmp_path: Path) -> None:
    for name in ("x" * 255, "ü" * 127):
        check_writable(str(tmp_path / name))
        replace_file(str(tmp_path / name), NEW)
        assert (tmp_path / name).read_bytes() == NEW


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        assert_refused(tmp_path / name, OSError, tmp_path, "is a pipe")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert_refused("socket", OSError, tmp_path, "is a socket")


@pytest.mark.skipif(not ROOT, reason="only root makes devices")
def test_a_device_is_refused(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices in this container")
    assert_refused(tmp_path / "null", OSError, tmp_path, "is a device")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_the_null_device_is_refused_by_save() -> None:
    net = Network().input((2,)).add(FullyConnectedLayer(1)).regression(cost="mean_squared")
    with pytest.raises(OSError, match="is a device"):
        net.save(os.devnull)


@pytest.mark.parametrize("place", ["/proc/net-of-mine", "/proc/new/net", "/sys/net", "/dev/fd/net"])
def test_a_file_system_that_takes_no_files_is_refused(place: str, tmp_path: Path) -> None:
    if not Path(place).parents[-2].is_dir():
        pytest.skip("has no such file system")
    assert_refused(place, OSError, tmp_path)


AS_USER = """
    import os, sys
    sys.path[:0] = {path!r}
    from gedanken.files import check_writable, replace_file
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    for call in (check_writable, lambda name: replace_file(name, b"new content")):
        try:
            call({name!r})
            print("done", end=" ")
        except OSError as error:
            print(type(error).__name__, end=" ")
"""


def as_user(name: Path) -> list[str]:
    """Return what becomes of checking and writing a file as a user who owns nothing."""
    code = textwrap.dedent(AS_USER).format(path=sys.path, name=str(name))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_folders_and_files_of_other_users_are_refused(tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents]:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    rows = {"closed": 0o755, "open": 0o777, "sticky": 0o1777}
    for name, mode in rows.items():
        (tmp_path / name).mkdir()
        for file, file_mode in (("private", 0o600), ("shared", 0o666)):
            (tmp_path / name / file).write_bytes(OLD)
            (tmp_path / name / file).chmod(file_mode)
        (tmp_path / name).chmod(mode)
    no, yes = ["PermissionError"] * 2, ["done"] * 2
    assert as_user(tmp_path / "closed" / "new") == no
    assert as_user(tmp_path / "closed" / "a" / "new") == no
    assert as_user(tmp_path / "closed" / "shared") == no
    assert as_user(tmp_path / "open" / "private") == no
    assert as_user(tmp_path / "open" / "new") == yes
    assert as_user(tmp_path / "open" / "a" / "b" / "new") == yes
    assert as_user(tmp_path / "open" / "shared") == yes
    assert as_user(tmp_path / "sticky" / "shared") == no
    assert as_user(tmp_path / "sticky" / "new") == yes
    shared = (tmp_path / "open" / "shared").stat()
    assert (shared.st_uid, stat.S_IMODE(shared.st_mode)) == (65534, 0o666)


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_a_group_that_cannot_be_kept_gives_nothing_to_another(tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents]:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    (tmp_path / "file").write_bytes(OLD)
    os.chown(tmp_path / "file", 65534, 1234)
    (tmp_path / "file").chmod(0o660)
    assert as_user(tmp_path / "file") == ["done"] * 2
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    before = everything(tmp_path)
    for name in ("file", "new", "a/b/c/new"):
        check_writable(str(tmp_path / name))
    assert everything(tmp_path) == before


def test_an_error_while_writing_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    before = everything(tmp_path)
    for name in ("file", "new", "a/b/new"):
        with pytest.raises(TypeError), replacing(str(tmp_path / name)) as file:
            file.writelines([NEW, None])  # type: ignore[list-item]
        assert everything(tmp_path) == before


# ------------------------------------------------------------------ other programs, signals and threads


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_bytes(OLD)
    tokens: Iterator[str] = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr("gedanken.files.secrets.token_hex", lambda _: next(tokens))
    (tmp_path / f".gedanken-{'0' * 16}.partial").symlink_to("victim")
    replace_file(str(tmp_path / "file"), NEW)
    assert (tmp_path / "victim").read_bytes() == OLD
    assert (tmp_path / f".gedanken-{'0' * 16}.partial").is_symlink()


PROGRAM = """
    import os, signal
    from gedanken.files import replacing
    for k in range({count}):
        if not os.fork():
            with replacing({path!r}) as file:
                file.write(b"x" * 100)
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        os.wait()
"""


def test_what_killed_programs_left_is_swept_and_what_others_write_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM).format(count=3, path=path)], check=False, capture_output=True
    )
    assert done.stderr == b""
    assert len(list(tmp_path.glob(".gedanken-*.partial"))) == 1  # each swept what the one before left
    (tmp_path / f".gedanken-{'0' * 16}.partial").mkdir()  # things that only look like it
    os.mkfifo(tmp_path / f".gedanken-{'1' * 16}.partial")
    (tmp_path / ".gedanken-mine.partial").write_bytes(OLD)
    with replacing(path) as outer:
        outer.write(OLD)
        replace_file(path, NEW)
        assert len(list(tmp_path.glob(".gedanken-*.partial"))) == 4
    assert Path(path).read_bytes() == OLD
    assert len(list(tmp_path.glob(".gedanken-*.partial"))) == 3


# In processes of their own: a signal in the middle of what measures coverage would be another test.
SIGNALS = """
import os, signal, sys
from pathlib import Path
from gedanken.files import check_writable, replace_file

path = Path(sys.argv[1])

def at(seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)
"""


def test_writing_in_a_signal_handler_during_writing(tmp_path: Path) -> None:
    run(
        """
        written = []

        def again(*_):
            replace_file(str(path), b"inner")
            written.append(1)

        signal.signal(signal.SIGALRM, again)
        for k in range(200):
            at(1e-5 * (1 + k % 50))  # once, somewhere in the writing
            replace_file(str(path), b"outer")
            assert path.read_bytes() in (b"outer", b"inner")
        at(0)
        assert len(written) > 50
        """,
        tmp_path / "file",
    )
    assert os.listdir(tmp_path) == ["file"]


def test_an_interruption_at_any_line_leaves_a_whole_file_and_nothing_else(tmp_path: Path) -> None:
    run(
        """
        class Interruption(BaseException):
            pass

        def interrupt(*_):
            raise Interruption

        interrupted = 0
        signal.signal(signal.SIGALRM, interrupt)
        for k in range(400):
            try:
                at(1e-5 + k % 50 * 2e-5)
                try:
                    (replace_file if k % 2 else lambda name, _: check_writable(name))(str(path), b"new")
                finally:
                    at(0)
            except Interruption:
                interrupted += 1
            assert not path.exists() or path.read_bytes() == b"new"
        assert interrupted > 20
        replace_file(str(path), b"new")
        """,
        tmp_path / "a" / "file",
    )
    assert os.listdir(tmp_path / "a") == ["file"]


def run(program: str, *arguments: object) -> None:
    """Run a program that goes on from SIGNALS, and require that it ends well."""
    command = [sys.executable, "-c", SIGNALS + textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_processes_and_threads_write_one_file_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b" / "file")
    code = f"""
        import sys, threading
        from gedanken.files import check_writable, replace_file
        def work(k):
            for _ in range(40):
                check_writable({path!r})
                replace_file({path!r}, bytes([k]) * 100_000)
        threads = [threading.Thread(target=work, args=(65 + k,)) for k in range(2)]
        [thread.start() for thread in threads]
    """
    running = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE) for _ in range(4)
    ]
    stop = threading.Event()
    seen: set[bytes] = set()
    while not stop.is_set():
        try:
            content = Path(path).read_bytes()
            assert len(content) == 100_000
            seen.add(content[:1] if len(set(content)) == 1 else content)
        except FileNotFoundError:
            pass
        if all(process.poll() is not None for process in running):
            stop.set()
    assert [process.communicate()[1] for process in running] == [b""] * 4
    assert seen <= {b"A", b"B"}
    assert os.listdir(tmp_path / "a" / "b") == ["file"]


def test_a_folder_that_can_be_written_to_but_not_read(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop").chmod(0o300)
    try:
        check_writable(str(tmp_path / "drop" / "file"))
        replace_file(str(tmp_path / "drop" / "file"), NEW)
        assert (tmp_path / "drop" / "file").read_bytes() == NEW
    finally:
        (tmp_path / "drop").chmod(0o700)


def test_an_error_names_the_users_path_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long") as caught:
        replace_file(str(tmp_path / ("x" * 256)), NEW)
    assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(tmp_path / ("x" * 256)))
