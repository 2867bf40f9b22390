"""Tell praise from blame: classify short sentences by their words.

Shows: a vocabulary, sentences of different lengths, `Embedding`, a network of one output with binary cross-entropy.
"""

import numpy as np

from gedanken import Adam, BinaryCrossEntropy, Dropout, Embedding, Flatten, FullyConnectedLayer, Network, ReLU, Sigmoid

THINGS = ["soup", "bread", "service", "music", "room", "wine", "fish", "waiter", "coffee", "garden"]
GOOD, BAD = (
    ["good", "warm", "friendly", "fresh", "quiet", "lovely"],
    ["bad", "cold", "rude", "stale", "loud", "dreadful"],
)
LENGTH = 6  # words; shorter sentences are filled up with word number 0


def sentence(rng):
    """Return the words of a sentence, and whether it praises; "not" turns it round."""
    praise, turned = rng.random() < 0.5, rng.random() < 0.4
    words = ["the", str(rng.choice(THINGS)), "was"]
    words += ["not"] if turned else []
    words += ["very"] if rng.random() < 0.5 else []
    words.append(str(rng.choice(GOOD if praise != turned else BAD)))
    return words, praise


rng = np.random.default_rng(0)
sentences, praises = zip(*(sentence(rng) for _ in range(3000)), strict=True)
vocabulary = {word: number for number, word in enumerate(sorted({w for words in sentences for w in words}), start=1)}


def numbers(words):
    """Return a sentence as LENGTH numbers of words; words that are not in the vocabulary are left out."""
    known = [vocabulary[word] for word in words if word in vocabulary][:LENGTH]
    return known + [0] * (LENGTH - len(known))


data = np.array([numbers(words) for words in sentences])
labels = np.array(praises, int)

net = Network(seed=0).input((LENGTH,))
net.add(Embedding(n_tokens=len(vocabulary) + 1, n_features=8)).add(Flatten()).add(Dropout(0.9))
net.add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(1)).add(Sigmoid())
net.regression(Adam(0.01), BinaryCrossEntropy())
net.fit(data[:2000], labels[:2000], epochs=10, mini_batch_size=50, progress=False)

found = net.evaluate(data[2000:], labels[2000:], progress=False)
print(f"accuracy {found['accuracy']:.3f} on 1,000 new sentences, {len(vocabulary)} words")
for text in ("the soup was not very good", "the waiter was friendly", "the room was not loud"):
    (probability,) = net.feedforward([numbers(text.split())])[0]
    print(f"{text}: praise with probability {probability:.2f}")
most = max(labels[2000:].mean(), 1 - labels[2000:].mean())
assert found["accuracy"] > most, "no better than always the more frequent answer yet: train for more epochs"
