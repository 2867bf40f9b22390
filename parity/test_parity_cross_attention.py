"""Attention to another sequence against PyTorch: outputs, and gradients by parameters and by each input."""

import itertools

import numpy as np
import pytest
import torch
from reference import ENGINE, assert_agree

from gedanken import Branches, CrossAttention, FullyConnectedLayer, LayerNorm, MultiHeadAttention, ReLU, Residual
from gedanken.by_name import ByName
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.layers.stages import back_through, through
from gedanken.sequences import Sequences

N, T, U = 5, 6, 9
BOTH = {"queries": "target", "keys": "source"}


def ours(layers, data, dy, rng):
    """Return our parameters, outputs and gradients; `dy` is cut to the real places."""
    shapes = {name: one.values.shape[1:] for name, one in data.parts.items()}
    plan = Plan(layers, shapes, select_engine(ENGINE, "float64"), 3)
    plan.initialise()
    for view in plan.arrays().values():
        view[...] = rng.normal(size=view.shape) / 2
    ctx, stages = plan.told_of_lengths(plan.context(train=True), data), plan.engine.stages(plan.layers)
    y, tape = through(stages, ctx, ByName({name: one.values for name, one in data.parts.items()}))
    y = y.copy()
    p = {name: np.array(view) for name, view in plan.arrays().items()}
    dx = back_through(stages, ctx, tape, plan.ops.real_places(dy, data.parts["target"].lengths))
    found = {"y": plan.ops.real_places(y, data.parts["target"].lengths)}
    found |= {name: np.array(one) for name, one in plan.gradients().items()}
    return p, found | {f"dx {name}": np.array(one) for name, one in dx.parts.items()}


def tensor(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def hidden_as_numbers(sequences):
    """Return what is added to scores of padded keys."""
    return torch.from_numpy(np.where(sequences.real(), 0.0, -np.inf))


def real_sum(y, dy, data):
    """Let PyTorch go back from the real places; return these of y."""
    real = torch.from_numpy(data.parts["target"].real())[..., None]
    (y * torch.from_numpy(dy) * real).sum().backward()
    return torch.where(real, y, 0)


LEAST = 1e-5  # what is 0, as the gradient of a bias that all keys share, is compared so far
MASK = np.random.default_rng(4).normal(size=(2, T, U))
OPTIONS = [
    {"learned_key": learned, "zero_key": zero, "attention_mask": MASK if masked else None, "bias": bias}
    for learned, zero, masked, bias in itertools.product(*[(False, True)] * 3, (True, False))
]


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("sizes", [(4, 4, 4), (4, 7, 7), (4, 3, 5)], ids=["alike", "kdim", "kdim and vdim"])
def test_any_queries_keys_and_values(sizes, options):
    rng = np.random.default_rng(3)
    lengths = {"target": rng.integers(1, T + 1, N), "source": rng.integers(1, U + 1, N)}
    lengths["values"] = lengths["source"]
    places = {"target": T, "source": U, "values": U}
    parts = {name: rng.normal(size=(N, places[name], size)) for name, size in zip(places, sizes, strict=True)}
    data = ByName({name: Sequences(one, lengths[name]) for name, one in parts.items()})
    dy = rng.normal(size=(N, T, 4))
    p, found = ours([CrossAttention(2, values="values", **BOTH, **options)], data, dy, rng)
    p = {name.removeprefix("0."): tensor(one) for name, one in p.items()}
    q, k, v = (tensor(one) for one in parts.values())
    zeros = torch.zeros(4, dtype=torch.float64)
    bias = torch.cat([p.get(f"{role}_bias", zeros) for role in ("query", "key", "value")])
    mask = options["attention_mask"]
    y, _ = torch.nn.functional.multi_head_attention_forward(
        *(one.transpose(0, 1) for one in (q, k, v)), 4, 2, None, bias,
        *(p[name][None, None] if name in p else None for name in ("learned_key", "learned_value")),
        options["zero_key"], 0.0, p["output_kernel"].T, p.get("output_bias", zeros), training=True,
        key_padding_mask=hidden_as_numbers(data.parts["source"]), need_weights=False,
        attn_mask=None if mask is None else torch.from_numpy(mask).repeat(N, 1, 1), use_separate_proj_weight=True,
        q_proj_weight=p["query_kernel"].T, k_proj_weight=p["key_kernel"].T, v_proj_weight=p["value_kernel"].T,
    )  # fmt: skip
    y = real_sum(y.transpose(0, 1), dy, data)
    theirs = {"y": y, **{f"0.{name}": one.grad for name, one in p.items()}}
    assert_agree(
        found, theirs | {f"dx {name}": one.grad for name, one in zip(parts, (q, k, v), strict=True)}, least=LEAST
    )


WIDTH = 8


def block(norm_first):
    """Return a decoder's block, and which of its arrays are which of a TransformerDecoderLayer."""
    inner = [FullyConnectedLayer(WIDTH), ReLU(), FullyConnectedLayer(4)]
    seen, norm = MultiHeadAttention(2, causal=True), LayerNorm()
    if norm_first:
        rows = [Residual([norm, seen])], [Residual([norm, *inner])]
        norms, first, second = ("0.target.0.layers.0.{}", "1.norm_{}", "2.target.0.layers.0.{}"), 1, 0
    else:
        rows = [Residual(seen), norm], [norm, Residual(inner), norm]
        norms, first, second = ("0.target.1.{}", "2.target.0.{}", "2.target.2.{}"), 0, 1
    layers = [
        Branches(source=[], target=rows[0], merge="names"),
        CrossAttention(2, residual=True, names=True, norm=norm if norm_first else None, **BOTH),
        Branches(source=[], target=rows[1], merge="names"),
    ]
    where = {
        f"0.target.0.layers.{first}.{{}}": "self_attn.in_proj_{}",
        f"0.target.0.layers.{first}.output_{{}}": "self_attn.out_proj.{}",
        "1.output_{}": "multihead_attn.out_proj.{}",
        f"2.target.{second}.layers.{first}.{{}}": "linear1.{}",
        f"2.target.{second}.layers.{first + 2}.{{}}": "linear2.{}",
    }
    return layers, where, norms


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_block_is_that_of_a_decoder(norm_first):
    rng = np.random.default_rng(5)
    data = ByName({"target": Sequences(rng.normal(size=(N, T, 4)), rng.integers(1, T + 1, N)),
                   "source": Sequences(rng.normal(size=(N, U, 4)), rng.integers(1, U + 1, N))})  # fmt: skip
    blocks, where, norms = block(norm_first)
    layers = [*blocks, CrossAttention(2, residual=True, **BOTH)]
    dy = rng.normal(size=(N, T, 4))
    p, found = ours(layers, data, dy, rng)
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first, "dtype": torch.float64}
    theirs = torch.nn.TransformerDecoderLayer(4, 2, WIDTH, **options)
    last = torch.nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
    where = {name: (other, theirs) for name, other in where.items()} | {"3.output_{}": ("out_proj.{}", last)}
    pairs = {}  # ours -> (theirs, which third of it)
    for mine, (other, owner) in where.items():
        for a, b in (("kernel", "weight"), ("bias", "bias")):
            pairs[mine.format(a)] = owner.get_parameter(other.format(b)), slice(None)
    for name, norm in zip(norms, ("norm1", "norm2", "norm3"), strict=True):
        for a, b in (("scale", "weight"), ("shift", "bias")):
            pairs[name.format(a)] = theirs.get_parameter(f"{norm}.{b}"), slice(None)
    for place, name, owner in (("1", "multihead_attn.", theirs), ("3", "", last)):
        for third, role in enumerate(("query", "key", "value")):
            for a, b in (("kernel", "weight"), ("bias", "bias")):
                whole = owner.get_parameter(f"{name}in_proj_{b}")
                pairs[f"{place}.{role}_{a}"] = whole, slice(4 * third, 4 * third + 4)
    assert pairs.keys() == p.keys()
    with torch.no_grad():
        for name, (one, third) in pairs.items():
            one[third] = torch.from_numpy(p[name].T)
    x = {name: tensor(one.values) for name, one in data.parts.items()}
    hidden = {name: torch.from_numpy(~one.real()) for name, one in data.parts.items()}
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    y = theirs(
        x["target"], x["source"], later, tgt_key_padding_mask=hidden["target"],
        memory_key_padding_mask=hidden["source"],
    )  # fmt: skip
    y = y + last(y, x["source"], x["source"], key_padding_mask=hidden["source"], need_weights=False)[0]
    expected = {"y": real_sum(y, dy, data), **{f"dx {name}": one.grad for name, one in x.items()}}
    expected |= {name: one.grad[third].mT if one.ndim == 2 else one.grad[third] for name, (one, third) in pairs.items()}
    assert_agree(found, expected, least=LEAST)
