"""L-BFGS: steps by an approximate inverse of the Hessian, made of the last gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.functional.joining import cat
from clgrad.optim.line_search import Point, strong_wolfe
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import check_rate
from clgrad.tape.grad_mode import enable_grad, no_grad
from clgrad.tensor import Tensor


class LBFGS(Optimizer):
    """Minimises a loss that is computed again and again within each step.

    It reads losses and products from the device, so it waits for it, many times a step. All
    parameters are in one group.

    Args:
        params: parameters.
        lr: step size, or where the line search begins.
        max_iter: iterations of one step.
        max_eval: evaluations of the loss in one step; default: 1.25 `max_iter`.
        tolerance_grad: stop where no element of the gradient is larger.
        tolerance_change: stop where no element, nor the loss, changes by more.
        history_size: how many gradients are remembered.
        line_search_fn: None, or `strong_wolfe`.

    Raises:
        ClgradValueError: several groups, or a negative learning rate.
        ClgradRuntimeError: an unknown line search.

    Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1, max_iter: int = 20,
        max_eval: int | None = None, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9,
        history_size: int = 100, line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_rate(lr)
        defaults = {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ClgradValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def __setstate__(self, state: Group) -> None:
        super().__setstate__(state)
        self._params = self.param_groups[0]["params"]

    # ---- all parameters as one vector ------------------------------------------------------------

    def _gradient(self) -> Tensor:
        parts = [
            (p.detach() * 0 if p.grad is None else p.grad.detach()).reshape(-1)
            for p in self._params
        ]
        return cat(parts)

    def _move(self, step: float, direction: Tensor) -> None:
        start = 0
        for p in self._params:
            p.add_(direction[start : start + p.numel()].view_as(p) * step)
            start += p.numel()

    # ---- one step --------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimise for a while.

        Args:
            closure: clears gradients, computes the loss, calls `backward`, returns the loss.

        Returns:
            The loss at the beginning.

        Raises:
            AssertionError: a second group of parameters was added.
        """
        if closure is None:
            raise ClgradRuntimeError(
                "LBFGS.step: got no closure. Expected a function that computes the loss again."
            )
        if len(self.param_groups) != 1:
            raise AssertionError(
                f"Expected exactly one param_group, but got {len(self.param_groups)}. "
                "Hint: LBFGS keeps all its parameters in the first."
            )
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ClgradRuntimeError("only 'strong_wolfe' is supported")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluated() -> Any:
            state["func_evals"] += 1
            with enable_grad():
                return closure()

        with no_grad():
            first = evaluated()
            grad = self._gradient()
            if _largest(grad) > group["tolerance_grad"]:
                self._iterate(group, state, evaluated, float(first), grad)
        return first

    def _iterate(
        self, group: Group, state: Group, evaluated: Callable[[], Any], loss: float, grad: Tensor
    ) -> None:
        most = state["func_evals"] - 1 + group["max_eval"]
        small, still = group["tolerance_change"], group["tolerance_grad"]
        step, lr = state.get("t", 0.0), float(group["lr"])
        for left in reversed(range(group["max_iter"])):
            state["n_iter"] += 1
            direction = self._direction(group, state, grad, step)
            before, state["prev_flat_grad"] = loss, grad.clone()
            state["prev_loss"] = loss
            step = lr
            if state["n_iter"] == 1:
                step = min(1.0, 1.0 / grad.abs().sum().item()) * lr
            slope = grad.dot(direction).item()
            state["d"], state["t"] = direction, step
            if slope > -small:
                break
            if group["line_search_fn"] is not None:
                start = Point(0.0, loss, grad, slope)
                evaluate = self._evaluator(direction, evaluated)
                left_over = most - state["func_evals"]
                found, _ = strong_wolfe(
                    evaluate, start, step, _largest(direction), small, left_over
                )
                loss, grad, step = found.loss, found.grad, found.step
                state["t"] = step
                self._move(step, direction)
            else:
                self._move(step, direction)
                if left:
                    loss, grad = float(evaluated()), self._gradient()
            done = not left or state["func_evals"] >= most or _largest(grad) <= still
            if done or _largest(direction * step) <= small or abs(loss - before) < small:
                break

    def _direction(self, group: Group, state: Group, grad: Tensor, step: float) -> Tensor:
        """Return minus the gradient times the approximate inverse of the Hessian."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -grad
        change = grad - state["prev_flat_grad"]
        moved = state["d"] * step
        product = change.dot(moved).item()
        changes, moves, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        if product > 1e-10:
            if len(changes) == group["history_size"]:
                for old in (changes, moves, inverse):
                    old.pop(0)
            changes.append(change)
            moves.append(moved)
            inverse.append(1.0 / product)
            state["H_diag"] = product / change.dot(change).item()
        weights = []
        made: Tensor = -grad
        for y, s, r in zip(reversed(changes), reversed(moves), reversed(inverse), strict=True):
            weights.append(s.dot(made) * r)
            made = made - y * weights[-1]
        made = made * state["H_diag"]
        for y, s, r in zip(changes, moves, inverse, strict=True):
            made = made + s * (weights.pop() - y.dot(made) * r)
        return made

    def _evaluator(
        self, direction: Tensor, evaluated: Callable[[], Any]
    ) -> Callable[[float], Point]:
        """Return what computes the loss after a step, and goes back."""
        origin = [p.detach().clone() for p in self._params]

        def evaluate(step: float) -> Point:
            self._move(step, direction)
            loss = float(evaluated())
            grad = self._gradient()
            for p, x in zip(self._params, origin, strict=True):
                p.copy_(x)
            return Point(step, loss, grad, grad.dot(direction).item())

        return evaluate


def _largest(x: Tensor) -> float:
    largest: float = x.abs().amax().item()
    return largest
