"""Random graphs with hooks of every kind: the same calls, in the same order, as in PyTorch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import close

import clgrad
from clgrad.testing.interpreter import interpreted

Step = tuple[Any, ...]

OPS = ("mul", "add", "exp", "split", "two", "spread", "view", "write", "part", "most")
HOOKS = ("tensor", "change", "retain", "pre", "pre half", "pre none", "post", "post more", "leaf")
PASSES = ("backward", "once", "inputs", "grad", "create", "edge")


def program(seed: int) -> list[Step]:
    rng = random.Random(seed)
    live, steps = ["a", "b", "c"], []
    for k in range(rng.randint(3, 9)):
        steps.append(("op", rng.choice(OPS), rng.choice(live), rng.choice(live), f"t{k}"))
        live += [f"t{k}", f"u{k}"]
        steps += [("hook", rng.choice(HOOKS), rng.choice(live)) for _ in range(rng.randint(0, 2))]
    for _ in range(rng.randint(1, 3)):
        inputs = [rng.choice(live) for _ in range(rng.randint(1, 2))]
        steps.append(("pass", rng.choice(PASSES), rng.choice(live[3:]), inputs))
    return steps


class Run:
    """Runs a program with one library, and logs what can be seen."""

    def __init__(self, m: Any) -> None:
        self.m = m
        self.log: list[Any] = []
        values = np.random.default_rng(0).random((3, 4)).astype(np.float32)
        self.env: dict[str, Any] = {
            name: m.tensor(row, requires_grad=name != "b")
            for name, row in zip("abc", values, strict=True)
        }
        log = self.log

        class Two(m.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, y: Any) -> Any:
                ctx.set_materialize_grads(False)
                return x * 2, y * 3

            @staticmethod
            def backward(ctx: Any, g: Any, h: Any) -> Any:
                log.append(["two", shown(g), shown(h), list(ctx.needs_input_grad)])
                return None if g is None else g * 2, None if h is None else h * 3

        self.two = Two

    def run(self, steps: list[Step]) -> list[Any]:
        for k, (kind, *rest) in enumerate(steps):
            try:
                getattr(self, f"do_{kind}")(k, *rest)
            except (RuntimeError, AttributeError) as error:  # AttributeError: no node to hook
                self.log.append(["error", k, isinstance(error, RuntimeError)])
                if kind == "op":
                    self.env[rest[3]] = self.env[f"u{rest[3][1:]}"] = self.env["a"]
        return self.log

    def do_op(self, k: int, op: str, first: str, second: str, to: str) -> None:
        m, x, y = self.m, self.env[first], self.env[second]
        made = other = x
        if op == "mul":
            made = x * y
        elif op == "add":
            made = x + y
        elif op == "exp":
            made = (x * 0.1).exp()
        elif op == "split":
            p, q = x.split(2)
            made, other = m.cat([p, p]), m.cat([q, p])
        elif op == "two":
            made, other = self.two.apply(x, y)
        elif op == "spread":
            spread, mean = m.var_mean(x.reshape(2, 2), dim=0)
            made, other = m.cat([spread, mean]), m.cat([mean, mean])
        elif op == "view":
            made = x.view(2, 2).t().reshape(4)
        elif op == "write":
            made = x.clone()
            made.mul_(y)
        elif op == "part":
            made = x.clone()
            made[1:3].mul_(2)
        elif op == "most":
            most = x.reshape(2, 2).max(1)[0]
            made, other = m.cat([most, most]), x.sort()[0]
        self.env[to], self.env[f"u{to[1:]}"] = made, other
        self.log.append([to, shown(made), made.requires_grad, type(made.grad_fn).__name__])

    def do_hook(self, k: int, hook: str, name: str) -> None:
        x, log, tag = self.env[name], self.log, f"{hook} {k}"

        def seen(*grads: Any) -> None:
            log.append([tag, [shown(g) for g in grads]])

        def scaled(grads: Any, factor: float) -> Any:
            return tuple(None if g is None else g * factor for g in grads)

        if hook == "tensor":
            x.register_hook(seen)
        elif hook == "change":
            x.register_hook(lambda g: (seen(g), None if g is None else g * 1.5)[1])
        elif hook == "retain":
            x.retain_grad()
        elif hook == "leaf":
            x.register_post_accumulate_grad_hook(lambda t: seen(t.grad))
        else:
            node = x.grad_fn
            if node is None and x.requires_grad:
                node = x.view_as(x).grad_fn.next_functions[0][0]
            self.env[f"node {k}"] = node
            if hook.startswith("pre"):
                factor = {"pre half": 0.5}.get(hook)
                node.register_prehook(
                    lambda grads: (
                        seen(*grads),
                        tuple(None for _ in grads) if hook == "pre none"
                        else None if factor is None else scaled(grads, factor),
                    )[1]
                )  # fmt: skip
            else:
                node.register_hook(
                    lambda inner, outer: (
                        seen(*outer), scaled(inner, 3.0) if hook == "post more" else None,
                    )[1]
                )  # fmt: skip

    def do_pass(self, k: int, how: str, output: str, inputs: list[str]) -> None:
        grad = self.m.autograd.grad
        out, places = self.env[output].sum(), [self.env[name] for name in inputs]
        options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
        if how in ("backward", "once", "inputs"):
            chosen = {"inputs": places} if how == "inputs" else {}
            out.backward(retain_graph=how != "once", **chosen)
        elif how == "create":
            found = grad(out, places, create_graph=True, allow_unused=True)
            self.log.append([shown(g) for g in found])
            further = [g for g in found if g is not None and g.requires_grad]
            if further:
                (further[0] ** 2).sum().backward(retain_graph=True)
        else:
            if how == "edge":
                places = [self.m.autograd.graph.get_gradient_edge(p) for p in places]
            self.log.append([shown(g) for g in grad(out, places, **options)])
        tensors = {n: t for n, t in self.env.items() if isinstance(t, self.m.Tensor)}
        self.log.append([[n, shown(tensors[n].grad)] for n in sorted(tensors)])


def shown(x: Any) -> Any:
    return None if x is None else x.detach().tolist()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_like_torch(first: int) -> None:
    for seed in range(first, first + 50):
        steps = program(seed)
        theirs = Run(torch).run(steps)
        with interpreted():
            ours = Run(clgrad).run(steps)
        for mine, other in zip(ours, theirs, strict=True):
            assert close(mine, other), f"seed {seed}\nclgrad {mine}\ntorch  {other}\n{steps}"
