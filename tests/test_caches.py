"""The cache folder: where it is, who may have written what is believed, and that only its user can write to it."""

import os
import shutil
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from gedanken import GedankenWarning
from gedanken.caches import CacheError, cache_folder, private_folder, read_entry, write_entry
from gedanken.datasets.fetch import Published, fetch
from gedanken.engine.cpu import compiler
from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.machine import Machine, this_machine
from gedanken.errors import DatasetError

pwd = pytest.importorskip("pwd", reason="owners and modes are POSIX's")

STRANGER = 54321  # a user who is nobody here
NAME = "dense.add"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="the administrator alone can give files away")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gedanken"


def machine() -> Machine:
    """Return one whose micro-kernel is compiled soon."""
    return this_machine()._replace(unit="plain", vector_bytes=16, rows=1, vectors=1)


# ------------------------------------------------------------------ where it is


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x"}, "/x/gedanken"),
        ({"XDG_CACHE_HOME": "x", "HOME": "/home/me"}, "/home/me/.cache/gedanken"),
        ({"XDG_CACHE_HOME": "./x", "LOCALAPPDATA": "/y"}, "/y/gedanken"),
        ({"XDG_CACHE_HOME": "~/x", "HOME": "/home/me"}, "/home/me/.cache/gedanken"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/gedanken"),
    ],
)
def test_it_is_an_absolute_path(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


@pytest.mark.parametrize("home", [None, "", "somewhere", "."])
def test_without_a_home_it_is_the_one_that_the_system_knows(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert cache_folder() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "gedanken"


def no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)


def test_who_has_no_home_has_no_cache_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    no_user(monkeypatch)
    with pytest.raises(CacheError, match="this user has no home folder"):
        cache_folder()
    with pytest.warns(GedankenWarning, match=r"no home folder.*let XDG_CACHE_HOME name a folder") as told:
        assert Library(machine(), "float32").kernel(NAME).parameters
    assert len(told) == 1
    with pytest.raises(DatasetError, match="the cache folder: this user has no home folder"):
        fetch(Published("toys", "toys.gz", "0" * 32), ["http://127.0.0.1:9/"])


COMMAND = f"""
import os, sys
os.getuid = lambda: {STRANGER}
from gedanken.cli.main import main
from gedanken.engine.cpu import engine
machine = engine.this_machine()._replace(rows=2, vectors=1)  # whose micro-kernel is soon compiled
engine.this_machine = lambda: machine
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (["info"], "none: this user has no home folder; let XDG_CACHE_HOME name a folder", 0),
        (["train", "drawn-digits", "--network", "mlp", "--limit", "200", "--epochs", "1", "--output", "m"], "saved", 0),
        (["predict", "m", "drawn-digits"], "", None),
        (["train", "mnist"], "the cache folder: this user has no home folder", 2),
    ],
)
def test_every_command_does_without_a_home(words: list[str], says: str, code: int | None, tmp_path: Path) -> None:
    hidden = ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "GEDANKEN_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", COMMAND, *words]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in done.stderr
    assert says in done.stdout + done.stderr, done
    assert code is None or done.returncode == code, done


# ------------------------------------------------------------------ what is believed


def foreign(path: Path) -> None:
    os.chown(path, STRANGER, -1, follow_symlinks=False)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def special(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


# What was done to the cache: to which of its folders (None: the kernel's file), what, and the reason that is told.
SPOILT: dict[str, tuple[str | None, Callable[[Path], None], str]] = {
    "the kernel is another user's": (None, foreign, f"belongs to user {STRANGER}"),
    "the kernel can be written by all": (None, lambda path: path.chmod(0o666), "can be written by others"),
    "the kernel can be written by a group": (None, lambda path: path.chmod(0o620), "can be written by others"),
    "the kernel is a link": (None, linked, "is a link"),
    "the kernel is a pipe": (None, special, "is not a regular file"),
    "the inner folder is another user's": ("kernels", foreign, f"belongs to user {STRANGER}"),
    "the inner folder can be written by all": ("kernels", lambda path: path.chmod(0o777), "can be written by others"),
    "the inner folder is a link": ("kernels", linked, "is a link"),
    "the folder is another user's": (".", foreign, f"belongs to user {STRANGER}"),
    "the folder can be written by a group": (".", lambda path: path.chmod(0o770), "can be written by others"),
    "the folder is a link": (".", lambda path: linked(path.resolve()), "is a link"),
    "the administrator in another's home": ("..", foreign, "and this is the administrator"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_kernels_that_others_could_have_written_are_not_run(case: str, cache: Path) -> None:
    place, spoil, reason = SPOILT[case]
    if (spoil is foreign) and os.geteuid() != 0:
        pytest.skip("the administrator alone can give files away")
    true = Library(machine(), "float32").kernel(NAME).parameters
    (path,) = (cache / "kernels").glob(f"{NAME}-*")
    plant(path)
    spoil(cache / place if place else path)
    library = Library(machine(), "float32")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert library.kernel(NAME).parameters == true
        assert library.kernel("cost.softmax").parameters
    (message,) = [str(warning.message) for warning in told]
    assert message.startswith("compiled kernels are not taken from the cache: ") and "XDG_CACHE_HOME" in message
    assert reason in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes with names")
def test_many_entries_that_are_none_are_one_warning(cache: Path) -> None:
    names = [NAME, "cost.softmax"]
    first = Library(machine(), "float32")
    for name in names:
        assert first.kernel(name).parameters
        (path,) = (cache / "kernels").glob(f"{name}-*")
        special(path)
    library = Library(machine(), "float32")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for name in names:
            assert library.kernel(name).parameters
    assert len(told) == 1


def plant(path: Path) -> None:
    """Put a kernel with a right checksum in place of the true one."""
    name, digest = NAME, compiler._digest(machine(), "float32")
    found = compiler._unpacked(path.read_bytes(), name, digest)
    assert found
    path.write_bytes(compiler._packed(name, digest, found._replace(parameters=[("planted", "Int")])))
    assert Library(machine(), "float32").kernel(NAME).parameters == [("planted", "Int")]


def test_a_refused_file_is_replaced_in_a_folder_that_is_right(cache: Path) -> None:
    Library(machine(), "float32").kernel(NAME)
    (path,) = (cache / "kernels").glob(f"{NAME}-*")
    linked(path)
    with pytest.warns(GedankenWarning, match="is a link"):
        Library(machine(), "float32").kernel(NAME)
    assert path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    Library(machine(), "float32").kernel(NAME)


@pytest.mark.parametrize("other", ["another kernel", "another processor", "another number type"])
def test_another_kernels_file_under_this_name_is_compiled_again(other: str, cache: Path) -> None:
    made = Library(machine(), "float32")
    true, _ = made.kernel(NAME).parameters, made.kernel("cost.softmax")
    source = {
        "another kernel": ("cost.softmax", made),
        "another processor": (NAME, Library(machine()._replace(rows=2), "float32")),
        "another number type": (NAME, Library(machine(), "float64")),
    }[other]
    source[1].kernel(source[0])
    path, taken = (cache / "kernels" / one._file(name) for name, one in [(NAME, made), source])
    good = path.read_bytes()
    shutil.copy(taken, path)
    assert Library(machine(), "float32").kernel(NAME).parameters == true
    assert path.read_bytes() == good


# ------------------------------------------------------------------ what is made


@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o077])
def test_only_its_user_can_write_to_it(umask: int, cache: Path) -> None:
    before = os.umask(umask)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Library(machine(), "float32").kernel(NAME)
            Library(machine(), "float32").kernel(NAME)
            private_folder("toys")
            write_entry("entry", b"content", "toys")
    finally:
        os.umask(before)
    assert read_entry("entry", "toys") == b"content"
    for path in [cache.parent, cache, *cache.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@root_only
def test_the_administrator_makes_nothing_in_another_users_home(cache: Path) -> None:
    home = cache.parent.parent / "home"
    home.mkdir()
    os.environ["XDG_CACHE_HOME"] = str(home / ".cache")
    foreign(home)
    with pytest.raises(CacheError, match=f"belongs to user {STRANGER}, and this is the administrator"):
        private_folder("kernels")
    assert not list(home.iterdir())


def test_a_folder_that_is_the_administrators_is_believed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_entry("entry", b"content", "kernels")
    owner = cache.stat().st_uid
    if owner != 0:
        pytest.skip("needs files of the administrator")
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    assert read_entry("entry", "kernels") == b"content"
