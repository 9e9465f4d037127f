"""Files: what is saved comes back, other programs read it, damage and strangers are refused."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dtypes
from clgrad.serialization import load_file, save_file
from clgrad.serialization.safetensors import read, save_bytes
from clgrad.testing.interpreter import interpreted


@pytest.fixture(autouse=True)
def _host() -> Iterator[None]:
    with interpreted():
        yield


def every_dtype() -> dict[str, Any]:
    made = {}
    for k, dtype in enumerate(dtypes.ALL):
        array = np.arange(k + 2) * 3 - k
        made[f"{dtype.name}.x"] = clgrad.tensor(abs(array) if dtype.kind == "u" else array).to(
            dtype
        )
    made["empty"] = clgrad.zeros(0, 3)
    made["one"] = clgrad.tensor(2.5)
    made["turned"] = clgrad.arange(6.0).reshape(2, 3).t()
    made["part"] = clgrad.arange(10)[3:8:2]
    return made


def assert_same(a: Any, b: Any) -> None:
    assert a.dtype is b.dtype
    assert a.shape == b.shape
    assert a.tolist() == b.tolist()


def round_trip(obj: Any) -> Any:
    file = io.BytesIO()
    clgrad.save(obj, file)
    file.seek(0)
    return clgrad.load(file)


def test_tensors_by_name(tmp_path: Path) -> None:
    made = every_dtype()
    path = tmp_path / "all.safetensors"
    save_file(made, path, {"who": "clgrad", "what": "täst"})
    again = load_file(path)
    assert list(again) == list(made)
    for name, x in made.items():
        assert_same(again[name], x)
    assert read(path.read_bytes(), None)[1] == {"who": "clgrad", "what": "täst"}


def test_the_package_of_the_format_reads_and_writes_the_same(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    made = {k: v for k, v in every_dtype().items() if "bfloat16" not in k}
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    save_file(made, ours)
    for name, array in numpy_files.load_file(ours).items():
        assert array.dtype == made[name].numpy().dtype
        assert np.array_equal(array, made[name].numpy())
    arrays = {k: np.array(v.numpy(), order="C") for k, v in made.items()}
    numpy_files.save_file(arrays, theirs, {"a": "b"})
    for name, x in load_file(theirs).items():
        assert_same(x, made[name])
    torch_files = pytest.importorskip("safetensors.torch")
    save_file({"b": clgrad.tensor([1.5, -2.0]).bfloat16()}, ours)
    assert torch_files.load_file(ours)["b"].tolist() == [1.5, -2.0]


def test_headers_are_aligned_and_without_holes() -> None:
    data = save_bytes(every_dtype())
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    for entry in header.values():
        size = {"BOOL": 1, "BF16": 2}.get(entry["dtype"]) or int(entry["dtype"][1:]) // 8
        assert entry["data_offsets"][0] % size == 0


VALUES: list[Any] = [
    None, True, 3, -(2**70), 2.5, 1e300, "text \N{SNOWMAN}", b"\x00\xff", [], [1, [2, (3,)]], (),
    {"a": 1, 2: "b", (3, 4): None, None: [True]}, {1, 2}, frozenset(["x"]), 1 - 2j, clgrad.bfloat16,
    clgrad.Size([2, 3]), OrderedDict([("z", 1), ("a", 2)]), Counter({3: 1, 8: 2}), {"tensor": "no"},
    {"float": "nan"}, np.float32(1.5), np.int16(-3),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values(value: Any) -> None:
    again = round_trip(value)
    assert again == value
    assert type(again) is type(value)


def test_numbers_that_json_lacks() -> None:
    nan, most, least = round_trip([math.nan, math.inf, -math.inf])
    assert math.isnan(nan)
    assert (most, least) == (math.inf, -math.inf)
    array = round_trip({"a": np.arange(6, dtype=np.int8).reshape(2, 3)})["a"]
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert round_trip(defaultdict(list, a=[1])) == {"a": [1]}


def test_a_training_state(tmp_path: Path) -> None:
    model = clgrad.nn.Sequential(clgrad.nn.Linear(3, 4), clgrad.nn.Tanh(), clgrad.nn.Linear(4, 2))
    optimizer = clgrad.optim.Adam(model.parameters(), lr=0.1)
    schedule = clgrad.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])

    def train(net: Any, opt: Any, sched: Any, steps: int) -> list[Any]:
        for _ in range(steps):
            opt.zero_grad()
            (net(clgrad.ones(5, 3)) ** 2).sum().backward()
            opt.step()
            sched.step()
        return [p.tolist() for p in net.parameters()]

    train(model, optimizer, schedule, 3)
    path = tmp_path / "state"
    clgrad.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
         "schedule": schedule.state_dict(), "rng": clgrad.get_rng_state(), "epoch": 3}, path,
    )  # fmt: skip
    state = clgrad.load(path, map_location=None)
    again = clgrad.nn.Sequential(clgrad.nn.Linear(3, 4), clgrad.nn.Tanh(), clgrad.nn.Linear(4, 2))
    other = clgrad.optim.Adam(again.parameters(), lr=9.0)
    plan = clgrad.optim.lr_scheduler.MultiStepLR(other, [1])
    again.load_state_dict(state["model"])
    other.load_state_dict(state["optimizer"])
    plan.load_state_dict(state["schedule"])
    clgrad.set_rng_state(state["rng"])
    assert state["epoch"] == 3
    assert train(again, other, plan, 3) == train(model, optimizer, schedule, 3)
    names = set(load_file(path))
    assert {"model.0.weight", "optimizer.state.0.exp_avg"} <= names


def test_a_state_dict_is_a_plain_file(tmp_path: Path) -> None:
    model = clgrad.nn.BatchNorm1d(3)
    path = tmp_path / "model.safetensors"
    clgrad.save(model.state_dict(), path)
    again = clgrad.load(path)
    assert again._metadata == model.state_dict()._metadata
    assert list(load_file(path)) == list(model.state_dict())
    clgrad.nn.BatchNorm1d(3).load_state_dict(again)


def test_flags_classes_and_sharing_come_back() -> None:
    base = clgrad.arange(4.0)
    weight = clgrad.nn.Parameter(base)
    leaf = clgrad.ones(2, requires_grad=True)
    again = round_trip([weight, base, base, leaf, leaf * 2, base[1:]])
    assert type(again[0]) is clgrad.nn.Parameter
    assert again[0].requires_grad
    assert type(again[1]) is clgrad.Tensor
    assert not again[1].requires_grad
    assert again[3].requires_grad
    assert again[4].is_leaf
    assert again[4].requires_grad
    again[1].zero_()
    assert again[0].tolist() == again[2].tolist() == [0.0] * 4
    assert again[5].tolist() == [1.0, 2.0, 3.0]


def test_what_cannot_be_saved_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(clgrad.ClgradTypeError, match=r"got Linear at a\.1"):
        clgrad.save({"a": [1, clgrad.nn.Linear(2, 2)]}, io.BytesIO())
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(clgrad.ClgradValueError, match="contains itself"):
        clgrad.save(loop, io.BytesIO())
    with pytest.raises(clgrad.ClgradTypeError, match="Expected a path"):
        clgrad.save(1, 3)
    with pytest.raises(clgrad.ClgradTypeError, match="Expected a path"):
        clgrad.load(3)
    with pytest.raises(clgrad.ClgradTypeError, match="Expected names and tensors"):
        save_file({"a": 1}, tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        clgrad.load(tmp_path / "nothing")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    clgrad.save([1], path)
    with pytest.raises(clgrad.ClgradTypeError):
        clgrad.save([clgrad.ones(2), object()], path)

    class Broken(clgrad.Tensor):
        @property
        def nbytes(self) -> int:
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        clgrad.save([Broken([1.0])], path)
    assert clgrad.load(path) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def damaged() -> list[tuple[str, bytes]]:
    good = save_bytes({"a": clgrad.arange(3.0), "b": clgrad.arange(2)})
    (length,) = struct.unpack("<Q", good[:8])
    header, body = json.loads(good[8 : 8 + length]), good[8 + length :]

    def packed(head: Any, rest: bytes = body) -> bytes:
        text = (head if isinstance(head, str) else json.dumps(head)).encode()
        return struct.pack("<Q", len(text)) + text + rest

    def changed(**entry: Any) -> bytes:
        return packed({**header, "a": {**header["a"], **entry}})

    return [
        ("fewer than 8", good[:5]), ("header would have", good[:40]), ("no JSON", packed("{no")),
        ("no dictionary", packed("[1]")), ("occurs twice", packed('{"a":1,"a":2}')),
        ("has bytes", packed(header, body[:-1])), ("follow the last", packed(header, body + b"x")),
        ("reads", changed(dtype="F7")), ("has bytes", changed(shape=[4])),
        ("has bytes", changed(shape=[-3])), ("reads", changed(data_offsets=[0])),
        ("overlap", packed({**header, "c": header["a"]})),
    ]  # fmt: skip


def test_damage_is_found() -> None:
    for words, data in damaged():
        with pytest.raises(clgrad.ClgradValueError, match=words):
            clgrad.load(io.BytesIO(data))


def test_checkpoints_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(5, 3)).sum().backward()
    optimizer.step()
    base = torch.arange(12.0).reshape(3, 4)
    path = tmp_path / "checkpoint.pt"
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
         "views": [base, base.t()[1:]], "half": base.half(), "b": base.bfloat16(),
         "i": torch.tensor([True]), "size": base.shape,
         "wide": torch.arange(3).to(torch.uint16), "leaf": torch.ones(2, requires_grad=True),
         "parameter": torch.nn.Parameter(base), "dtype": torch.float16, "set": {1, 2}}, path,
    )  # fmt: skip
    found = clgrad.load(path)
    mine = clgrad.nn.Sequential(clgrad.nn.Linear(3, 4), clgrad.nn.BatchNorm1d(4))
    mine.load_state_dict(found["model"])
    for a, b in zip(mine.parameters(), model.parameters(), strict=True):
        assert a.tolist() == b.tolist()
    other = clgrad.optim.AdamW(mine.parameters())
    other.load_state_dict(found["optimizer"])
    assert other.param_groups[0]["lr"] == 0.1
    assert next(iter(other.state.values()))["step"] == 1.0
    one, two = found["views"]
    assert two.tolist() == base.t()[1:].tolist()
    one.zero_()
    assert not any(map(any, two.tolist()))
    assert found["half"].dtype is clgrad.float16
    assert found["b"].tolist() == base.tolist()
    assert found["i"].tolist() == [True]
    assert found["wide"].dtype is clgrad.uint16
    assert found["size"] == (3, 4)
    assert found["dtype"] is clgrad.float16
    assert found["set"] == {1, 2}
    assert found["leaf"].requires_grad
    assert type(found["parameter"]) is clgrad.nn.Parameter
    torch.save(model, path)
    with pytest.raises(clgrad.ClgradTypeError, match="the file needs torch"):
        clgrad.load(path)
    torch.save({"z": torch.ones(2, dtype=torch.complex64)}, path)
    with pytest.raises(clgrad.DTypeError, match="complex"):
        clgrad.load(path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "trap.pt"
    torch.save({"a": Trap()}, path)
    with pytest.raises(clgrad.ClgradTypeError, match="the file needs"):
        clgrad.load(path)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(clgrad.ClgradValueError):
        clgrad.load(io.BytesIO(pickle.dumps(Trap())))
    assert not (tmp_path / "sprung").exists()
