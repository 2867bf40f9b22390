"""Model files that no save wrote, with a right checksum; run as a program it loads many of them in little memory."""

import copy
import json
import random
import re
import resource
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gedanken import (
    SGD,
    AdamW,
    AveragePoolLayer,
    BatchNorm,
    Branches,
    CheckpointError,
    ConvolutionLayer,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GroupNorm,
    Huber,
    LeakyReLU,
    MaxPoolLayer,
    Network,
    OneCycle,
    OnPlateau,
    Precision,
    ReLU,
    Reshape,
    Residual,
    Sequential,
    SoftMax,
    TanH,
    WarmUp,
)

MEMORY = 3 << 30  # of address space, for all that is loaded


def sealed(metadata: dict[str, Any], table: dict[str, Any], data: bytes) -> bytes:
    """Return a file with this header and the checksum that belongs to it."""
    header = json.dumps({"__metadata__": {"checksum": "0" * 8, **metadata}, **table}).encode()
    checksum = f"{zlib.crc32(data, zlib.crc32(header, len(header))):08x}".encode()
    whole = header.replace(b'"checksum": "00000000"', b'"checksum": "%s"' % checksum, 1)
    return len(whole).to_bytes(8, "little") + whole + data


def opened(content: bytes) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], bytes]:
    """Return a file's architecture, other metadata, table and data."""
    size = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + size])
    metadata = table.pop("__metadata__")
    del metadata["checksum"]
    return json.loads(metadata.pop("architecture")), metadata, table, content[8 + size :]


def networks() -> list[Network]:
    """Return small networks that have layers, learners and fields of all kinds."""
    picture = (
        Network(1).input((2, 6, 6)).add(ConvolutionLayer(4, 3, 3, zero_padding="same")).add(BatchNorm()).add(ReLU())
    )
    picture.add(Residual([GroupNorm(2), Dropout(0.5)])).add(MaxPoolLayer(2, 2)).add(Flatten()).add(Reshape((4, 3, 3)))
    picture.add(Branches(GlobalAveragePoolLayer(), [GlobalAveragePoolLayer(), ReLU()])).add(FullyConnectedLayer(3))
    rule = AdamW(OnPlateau(WarmUp(0.1, 3)), clip_norm=1.0)
    picture.add(SoftMax()).regression(rule, metrics=[Precision(average="macro")])
    picture.class_names = ["a", "b", "c"]
    words = Network(2).input((4,)).add(Embedding(9, 3)).add(Sequential([Flatten(), FullyConnectedLayer(1)]))
    bare = (
        Network(3).input((2, 6, 6)).add(MaxPoolLayer(2, 3, 1, zero_padding="same")).add(Dropout(0.5)).add(LeakyReLU())
    )
    bare.add(Residual([Sequential([ReLU()]), AveragePoolLayer(3, 3, 1, zero_padding=1)])).add(Flatten()).add(
        Reshape((8, 9))
    )
    bare.add(Branches(Residual(ReLU()), [TanH()], merge="sum")).regression(
        SGD(OneCycle(0.1, 9)), Huber(2.0), metrics=[]
    )
    return [picture, words.regression(cost="mean_squared", dtype="float64"), bare]


NASTY: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 2**70, -(2**70), 10**4000),
    *(
        0.5,
        -0.0,
        1e308,
        float("inf"),
        float("nan"),
        "",
        "x",
        "1",
        "\ud800",
        "\x00",
        "float32",
        "__metadata__",
        "9" * 5000,
    ),
    *([], {}, [[]], [None], [1, 2, 3], [2**70], [-1, -1], [2**32, 2**32, 2**32], {"type": None}, {"type": []}),
    *({"type": "ReLU"}, {"type": "list", "items": [1]}, {"type": "dict", "items": [[[], []]]}, {"type": "float"}),
    *(
        {"type": "int8", "value": 300},
        {"type": "Adam"},
        {"type": "Sequential", "layers": []},
        {"type": "OnPlateau", "rate": 1},
    ),
    *({"type": "table of bits", "shape": [2, 2**40], "bytes": "AA=="}, {"type": "table of numbers", "shape": [0]}),
    *({"type": "float64", "value": [1, 2]}, {"type": "Constant", "value": 1e308}, "same", [0, 0], [1, 6, 6]),
]


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything in a tree."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in list(keys):
        yield node, key
        yield from places(node[key])


def mutated(content: bytes, draws: random.Random) -> bytes:
    """Return the file with one to three changes of what it says of itself."""
    architecture, metadata, table, data = copy.deepcopy(opened(content))
    for _ in range(draws.randint(1, 3)):
        tree: Any = architecture if draws.random() < 0.7 else table if draws.random() < 0.8 else metadata
        if not tree:
            continue
        container, key = draws.choice(list(places(tree)))
        change = draws.random()
        other, other_key = draws.choice(list(places(tree)))
        if change < 0.7:
            container[key] = copy.deepcopy(draws.choice(NASTY))
        elif change < 0.8:
            container[key] = copy.deepcopy(other[other_key])
        elif change < 0.9:
            del container[key]
        elif isinstance(container, list):
            container.insert(draws.randint(0, len(container)), copy.deepcopy(draws.choice(NASTY)))
        else:
            container[str(draws.choice(NASTY))[:99]] = copy.deepcopy(draws.choice(NASTY))
    if draws.random() < 0.1:
        data = data[: draws.randint(0, len(data))] + bytes(draws.randint(0, 64))
    return sealed({**metadata, "architecture": json.dumps(architecture)}, table, data)


def use(net: Network, path: Path) -> None:
    """Do with a loaded network what is done with networks; with samples where it has no windows of a million pixels."""
    assert net.input_shape is not None
    assert net.epoch in range(2**32)
    net.save(path)
    str(net.summary())
    if not re.search(r"\d{6}", repr(net.layers + net.input_shape)):
        net.feedforward(np.zeros((2, *net.input_shape), np.int64 if net.layers[0].tokens else np.float32))


def main(seed: int, count: int) -> None:
    """Load `count` files; tell of each that ends in anything but a network or a CheckpointError, and count those."""
    sys.set_int_max_str_digits(0)
    draws, found = random.Random(seed), {"loaded": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as folder:
        path, contents = Path(folder) / "net", []
        for net in networks():
            net.save(path)
            contents.append(path.read_bytes())
        sys.set_int_max_str_digits(4300)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for number in range(count):
            sys.set_int_max_str_digits(0)
            path.write_bytes(mutated(draws.choice(contents), draws))
            sys.set_int_max_str_digits(4300)
            began = time.process_time()
            try:
                use(Network.load(path, engine=draws.choice(["numpy", "auto"])), path.with_name("again"))
                found["loaded"] += 1
            except CheckpointError:
                found["refused"] += 1
            except BaseException as error:
                sys.stderr.write(f"{number} {type(error).__name__} {str(error)[:300]}\n")
            if (seconds := time.process_time() - began) > 5:
                sys.stderr.write(f"{number} {seconds:.1f} s\n")
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]), int(sys.argv[2]))
