"""`gedanken train`."""

import contextlib
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable

from gedanken.checks import duration, one_of, require, whole
from gedanken.cli.data import Samples
from gedanken.cli.output import note
from gedanken.cli.prepare import as_taken, chosen, prepared
from gedanken.cli.remembered import Remember
from gedanken.errors import ArgumentError, NonFiniteError
from gedanken.files import check_writable
from gedanken.network import Network
from gedanken.parallel.base import Parallel
from gedanken.parallel.data_parallel import DataParallel
from gedanken.parallel.hogwild import Hogwild
from gedanken.training.callbacks import Callback, EarlyStopping
from gedanken.training.checkpoint import Checkpoint
from gedanken.training.records import History, Run
from gedanken.training.resume import Resume


def run(arguments: Namespace) -> int:
    """Train, save, and return the exit status."""
    require(arguments.data is not None, "DATA", "be given, or --resume RUN of a run that remembers it", arguments.data)
    optimizer, design = chosen(arguments)
    if arguments.output is not None:
        require(arguments.output != "", "--output", "be the name of a file", arguments.output)
        check_writable(arguments.output)
    net, samples = prepared(arguments, optimizer, design)
    try:
        history = _fit(net, samples, arguments)
    except NonFiniteError as error:  # though the network was put back to where it was before
        advice = "; try a lower --learning-rate" * ("learning rate" in str(error))
        raise ArgumentError(f"{error}; nothing was saved{advice}") from error
    told = "the model was not saved: give --output FILE"
    if arguments.output is not None:
        _save(net, arguments.output)
        told = f"model saved as {arguments.output}"
    if not arguments.quiet:
        note(told)
    if history.reason == "Ctrl-C":
        raise KeyboardInterrupt
    return 0


def _save(net: Network, path: str) -> None:
    """Save the model; where that has become impossible, somewhere else, and tell where."""
    try:
        net.save(path)
    except OSError as error:
        told = _save_elsewhere(net, os.path.basename(path)[-200:] or "model")
        raise OSError(error.errno, f"{error.strerror}; {told}", path) from error


def _save_elsewhere(net: Network, name: str) -> str:
    """Save into a new folder for temporary files; return where in words, or why not: then nothing is left."""
    folder, saved = "", False
    try:
        folder = tempfile.mkdtemp(prefix="gedanken-")
        net.save(os.path.join(folder, name))
        saved = True
    except OSError as error:
        return f"it could not be saved elsewhere either ({error.filename or 'temporary files'}: {error.strerror})"
    finally:
        if folder and not saved:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    return f"the model was saved as {os.path.join(folder, name)} instead"


class _Announce(Callback):
    """Says a line before the first step, when nothing is left to complain about."""

    shows = True

    def __init__(self, line: str) -> None:
        self.line = line

    def on_start(self, run: Run) -> None:
        note(self.line)


def _fit(net: Network, samples: Samples, arguments: Namespace) -> History:
    data, labels, validation = as_taken(net, samples)
    watched = "cost" if validation is None else "validation_cost"
    patience = arguments.early_stop
    callbacks: list[Callback] = [] if patience is None else [EarlyStopping(watched, patience)]
    if arguments.checkpoint_every is not None:
        callbacks += [_checkpoint(arguments.checkpoint_every), Remember(arguments)]
    if not arguments.quiet:
        total = net.summary()
        callbacks.append(
            _Announce(
                f"{len(data):,} samples of {data.shape[1:]} in {len(samples.classes)} classes; "
                f"{total.total.parameters:,} parameters, engine {total.engine}"
            )
        )
    return net.fit(
        data,
        labels,
        validation_set=validation,
        epochs=arguments.epochs,
        mini_batch_size=arguments.mini_batch_size,
        shuffle=not arguments.no_shuffle,
        callbacks=callbacks,
        plot=arguments.plot,
        snapshot_step=arguments.snapshot_step,
        folder=arguments.folder,
        progress=not arguments.quiet,
        parallel=_parallel(arguments.parallel, arguments.workers),
        resume=Resume(arguments.resume, anyway=True) if arguments.anyway and arguments.resume else arguments.resume,
    )


def _checkpoint(every: str) -> Checkpoint:
    if every == "epoch":
        return Checkpoint()
    if every.isascii() and every.isdecimal():
        return Checkpoint(whole("--checkpoint-every", int(every[:19])))
    duration("--checkpoint-every", every, "be epoch, a number of steps or a time such as 30s")
    return Checkpoint(every)


def _parallel(name: str | None, workers: int | None) -> Parallel | None:
    """Return who computes the steps."""
    if name is None:
        require(workers is None, "--workers", "be given with --parallel", workers)
        return None
    kinds: dict[str, Callable[..., Parallel]] = {"hogwild": Hogwild, "data": DataParallel}
    kind = kinds[one_of("--parallel", name, kinds)]
    return kind() if workers is None else kind(workers=workers)
