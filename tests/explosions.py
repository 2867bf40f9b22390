"""A training that may explode, for tests that look at what is left."""

from typing import Any

from gedanken import History, Network, NonFiniteError


def history_of(net: Network, *given: Any, **options: Any) -> History:
    """Return what `fit` tells, or the error that ends it."""
    try:
        return net.fit(*given, **{"progress": False, **options})
    except NonFiniteError as error:
        ended = error
    assert ended.history.diverged
    assert ended.history.reason == str(ended)
    assert ended.fault is None or ended.history.faults[-1] == ended.fault
    return ended.history
