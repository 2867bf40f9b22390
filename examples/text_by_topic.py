"""Tell what a text is about: which part of Python's library a docstring is from, or which file of `fortune` a saying.

Shows: `Vocabulary`, texts of different lengths that a mask leaves as long as they are, `Embedding` and `GRU`, balanced
class weights. The texts are docstrings of the library that Python comes with; `--folder` takes others, with a file for
each class: `--folder /usr/share/games/fortunes --classes computers definitions people songs-poems`.
"""

import argparse
import ast
import sysconfig
from pathlib import Path

import numpy as np

from gedanken import (
    GRU,
    Accuracy,
    Adam,
    CrossEntropy,
    Dropout,
    Embedding,
    FullyConnectedLayer,
    Network,
    SoftMax,
    Vocabulary,
)
from gedanken.datasets import load_texts

EPOCHS, BATCH, RATE = 8, 32, 0.003
PLACES, FEATURES, UNITS, KEPT = 40, 32, 32, 0.6  # words of a text that are read; of a vector; of the state; by dropout
TOPICS = {
    "code": "ast bdb dis doctest importlib inspect pdb pydoc symtable tokenize traceback typing unittest",
    "files": "_pyio bz2 fileinput glob gzip lzma pathlib shelve shutil tarfile tempfile zipfile",
    "mail and web": "email ftplib html http imaplib mailbox poplib smtplib urllib wsgiref xmlrpc",
    "numbers": "_pydecimal calendar datetime fractions numbers random statistics",
    "tasks": "asyncio concurrent multiprocessing queue sched selectors subprocess threading",
}


def docstrings():
    """Return the docstrings of parts of the standard library, the number of the topic of each, and the topics."""
    library, found = Path(sysconfig.get_path("stdlib")), {}
    for number, modules in enumerate(TOPICS.values()):
        for module in modules.split():
            files = [library / f"{module}.py", *sorted((library / module).rglob("*.py"))]
            for file in filter(Path.exists, files):
                outer = ast.parse(file.read_text("utf-8")).body
                inner = [method for one in outer if isinstance(one, ast.ClassDef) for method in one.body]
                for one in outer + inner:
                    if isinstance(one, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                        found.setdefault(ast.get_docstring(one), number)  # each text once
    found = {text: number for text, number in found.items() if text}
    return list(found), np.array(list(found.values())), list(TOPICS)


def texts_of(folder, names):
    """Return the texts in some files of a folder, the number of the file of each, and the names of the files."""
    read = load_texts(folder)
    names = names or list(read.classes)
    kept = [(text, file.stem) for text, file in zip(read.texts, read.files, strict=True) if file.stem in names]
    texts, classes = zip(*kept, strict=True)
    return texts, np.array([names.index(name) for name in classes]), names


def load(limit=None, folder=None, classes=()):
    """Return numbers of words and labels, four in five to train on, and the vocabulary and the names of the classes."""
    texts, labels, names = texts_of(folder, list(classes)) if folder else docstrings()
    order = np.random.default_rng(0).permutation(len(texts))[:limit]
    train, test = order[len(order) // 5 :], order[: len(order) // 5]
    vocabulary = Vocabulary.of([texts[place] for place in train], lower=True, least_count=2)
    data, test_data = (vocabulary.encode([texts[place] for place in part], PLACES) for part in (train, test))
    return (data, labels[train], test_data, labels[test]), vocabulary, names


def network(vocabulary, names, seed=0):
    net = Network(seed).input((PLACES,)).add(Embedding(len(vocabulary), FEATURES, mask=0)).add(Dropout(KEPT))
    net.add(GRU(UNITS, last=True)).add(Dropout(KEPT)).add(FullyConnectedLayer(len(names))).add(SoftMax())
    net.vocabulary, net.class_names = vocabulary, names
    return net.regression(Adam(RATE), CrossEntropy(class_weights="balanced"), metrics=[Accuracy()])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="of texts, a file for each class")
    parser.add_argument("--classes", nargs="*", default=[], help="names of some of the files")
    parser.add_argument("--limit", type=int, help="texts")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    (data, labels, test_data, test_labels), vocabulary, names = load(options.limit, options.folder, options.classes)
    net = network(vocabulary, names, options.seed)
    net.fit(data, labels, epochs=options.epochs, mini_batch_size=BATCH, progress=False)
    accuracy = net.evaluate(test_data, test_labels, progress=False)["accuracy"]
    most = np.bincount(test_labels).max() / len(test_labels)
    print(f"accuracy {accuracy:.3f} on {len(test_data)} new texts of {len(names)} classes, the largest has {most:.3f}")
    for text, number in zip(vocabulary.decode(test_data[:3]), net.predict(test_data[:3]), strict=True):
        print(f"{names[number]}: {text[:70]}")
    assert accuracy > most, "no better than always the largest class yet: train longer (--epochs) or on more (--limit)"


if __name__ == "__main__":
    main()
