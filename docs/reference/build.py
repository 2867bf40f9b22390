"""Build the API reference from the docstrings: python -W error docs/reference/build.py FOLDER.

pdoc does the work. What it is told here: which names are public, so that what a public class inherits from a base
that is not stands in the class itself, and that every class that takes arguments shows them.
"""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gedanken.types

# One word in signatures; what imports it has to come later.
gedanken.types.Array = type("Array", (), {"__module__": "builtins"})
gedanken.types.Arrays = Mapping[str, gedanken.types.Array]

import pdoc.doc  # noqa: E402
import pdoc.render  # noqa: E402

import gedanken.datasets  # noqa: E402
import gedanken.metrics  # noqa: E402
import gedanken.networks  # noqa: E402

PAGES = (gedanken, gedanken.metrics, gedanken.networks, gedanken.datasets)
PAGE_OF = {getattr(page, name): page.__name__ for page in reversed(PAGES) for name in page.__all__ if name != "Average"}


class PublicClass(pdoc.doc.Class):
    """A class as its users know it."""

    def _taken_from(self, member_name: str, obj: Any) -> tuple[str, str]:
        """Return page and name of the base that explains a member: a public one, or else this class."""
        base = next((base for base in self.obj.__mro__ if member_name in vars(base)), self.obj)
        if member_name == "__init__" or base not in PAGE_OF or base is self.obj:
            return self.modulename, f"{self.qualname}.{member_name}"
        return PAGE_OF[base], f"{base.__qualname__}.{member_name}"

    @property
    def _member_objects(self) -> dict[str, Any]:
        members: dict[str, Any] = super()._member_objects
        python = [vars(base) for base in self.obj.__mro__ if not base.__module__.startswith("gedanken")]
        members = {name: one for name, one in members.items() if not any(one is part.get(name, ...) for part in python)}
        if inspect.isfunction(self.obj.__init__):
            members = {"__init__": self.obj.__init__, **members}
        return members


def build(folder: Path) -> None:
    """Write the pages."""
    pdoc.doc.Class = PublicClass
    pdoc.render.configure(
        docformat="google", template_directory=Path(__file__).parent, footer_text=f"Gedanken {gedanken.__version__}"
    )
    pdoc.pdoc(*(page.__name__ for page in PAGES), output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
