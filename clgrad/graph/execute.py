"""Running a plan: allocate, set arguments, enqueue, release.

The first run of a plan asks the device for all its kernels at once, so that what is missing is
built as one program. A step that fails poisons the values that depend on it; the others are run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clgrad.codegen.generate import generate
from clgrad.graph.flags import flags_of
from clgrad.graph.fusion import Entry
from clgrad.graph.group import Ref
from clgrad.graph.position import Position
from clgrad.graph.schedule import Plan, PlanStep


class Compiled:
    """A step whose kernels are at hand.

    `run(registers, scalars, places, device)` allocates and enqueues. It is written out as source,
    because a loop over arguments and buffers takes as long as the driver's share of a launch.
    """

    __slots__ = ("run", "step")

    def __init__(self, step: PlanStep, kernels: Sequence[Any], entries: Sequence[Entry]) -> None:
        self.step = step
        lines = [f"    r[{made}] = r[{taken}]" for made, taken in step.donate]
        wanted = [(f"r[{ref}]", nbytes) for ref, nbytes in step.alloc]
        wanted += [(f"t{k}", nbytes) for k, nbytes in enumerate(step.scratch)]
        if wanted:
            names, sizes = zip(*wanted, strict=True)
            lines.append(f"    {', '.join(names)}, = device.allocate_all({sizes})")
        lines += [f"    device.copy(r[{a}], r[{b}], {nbytes})" for a, b, nbytes in step.copies]
        scope: dict[str, Any] = {"flags_of": flags_of}
        for number, (launch, kernel) in enumerate(zip(step.launches, kernels, strict=True)):
            scope[f"kernel{number}"] = kernel
            scope[f"size{number}"] = (launch.global_size, launch.local_size)
            arguments = []
            for position, arg in enumerate(launch.args):
                kind, *rest = arg
                if kind == "int":
                    scope[f"n{number}_{position}"] = rest[0]
                    arguments.append(f"n{number}_{position}")
                elif kind == "flags":
                    arguments.append("flags")
                elif kind == "flag":
                    name = entries[rest[0]].sig.op.name
                    lines.append(
                        f"    flags, flag = flags_of(device).claim({name!r}, p.get({rest[0]}))"
                    )
                    arguments.append("flag")
                else:
                    arguments.append(_REGISTERS[kind].format(*rest))
            lines.append(f"    kernel{number}(({', '.join(arguments)},), *size{number})")
        exec("\n".join(["def run(r, s, p, device):", *lines, "    return"]), scope)
        self.run: Callable[..., None] = scope["run"]


_REGISTERS = {"ref": "r[{}]", "temp": "t{}", "scalar": "s[{}][{}]"}


def compile_steps(
    steps: Sequence[PlanStep], entries: Sequence[Entry], device: Any
) -> list[Compiled]:
    """Return steps with their kernels, built as one program where they are missing."""
    sources = [generate(x.spec, device.traits) for s in steps for x in s.launches]
    kernels = iter(device.kernels(sources))
    return [Compiled(s, [next(kernels) for _ in s.launches], entries) for s in steps]


def compile_one_by_one(
    steps: Sequence[PlanStep], entries: Sequence[Entry], device: Any
) -> tuple[list[Compiled], dict[int, BaseException]]:
    """Return what `compile_steps` does, and what is wrong with the steps that do not build."""
    compiled: list[Compiled] = []
    broken: dict[int, BaseException] = {}
    for step in steps:
        try:
            compiled += compile_steps((step,), entries, device)
        except Exception as error:
            broken[len(compiled)] = error
            compiled.append(Compiled(replace(step, launches=[]), (), entries))
    return compiled, broken


def run(
    plan: Plan,
    device: Any,
    leaves: list[Any],
    scalars: Sequence[tuple[Any, ...]],
    places: Mapping[Ref, Position | None],
) -> tuple[list[Any], dict[Ref, BaseException]]:
    """Run a plan.

    Args:
        leaves: buffer of each leaf; emptied, so that a buffer goes at its last use.
        scalars: the numbers of each entry.
        places: where the entries were recorded that may report errors.

    Returns:
        The buffer of each entry that is still needed, and the errors of those that failed.
    """
    compiled_steps = plan.compiled
    broken: dict[int, BaseException] = {}
    if compiled_steps is None:
        try:
            compiled_steps = plan.compiled = compile_steps(plan.steps, plan.entries, device)
        except Exception:  # which the steps that do not build will raise again
            compiled_steps, broken = compile_one_by_one(plan.steps, plan.entries, device)
    # leaves stand at the end, last first, so that a ref is the index of its register
    registers: list[Any] = [None] * plan.registers
    registers += reversed(leaves)
    leaves.clear()
    failed: dict[Ref, BaseException] = {}
    for number, compiled in enumerate(compiled_steps):
        step = compiled.step
        if failed and (cause := _cause(step, failed)) is not None:
            for ref in step.makes:
                failed[ref] = cause
            continue
        try:
            if number in broken:
                raise broken[number]
            compiled.run(registers, scalars, places, device)
        except Exception as error:
            for ref in step.makes:
                failed[ref] = error
                registers[ref] = None
        for ref in step.release:
            registers[ref] = None
    return registers, failed


def _cause(step: PlanStep, failed: dict[Ref, BaseException]) -> BaseException | None:
    for ref in step.reads:
        if ref in failed:
            return failed[ref]
    return None
