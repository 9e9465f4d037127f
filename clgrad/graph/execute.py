"""Running a plan: allocate, set arguments, enqueue, release.

The first run of a plan asks the device for all its kernels at once, so that what is missing is
built as one program. A step that fails poisons the values that depend on it; the others are run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clgrad.codegen.generate import generate
from clgrad.graph.flags import flags_of
from clgrad.graph.group import Ref
from clgrad.graph.position import Position
from clgrad.graph.schedule import Plan, PlanStep


class Compiled:
    """A step whose kernels are at hand: argument templates with holes for buffers and numbers."""

    __slots__ = ("calls", "step")

    def __init__(self, step: PlanStep, kernels: Sequence[Any]) -> None:
        self.step = step
        self.calls = []
        for launch, kernel in zip(step.launches, kernels, strict=True):
            template: list[Any] = []
            buffers, temps, numbers, flags = [], [], [], []
            for position, arg in enumerate(launch.args):
                template.append(arg[1] if arg[0] == "int" else None)
                if arg[0] == "ref":
                    buffers.append((position, arg[1]))
                elif arg[0] == "temp":
                    temps.append((position, arg[1]))
                elif arg[0] == "scalar":
                    numbers.append((position, *arg[1:]))
                elif arg[0] == "flag":
                    flags.append((launch.args.index(("flags",)), position, arg[1]))
            self.calls.append(
                (
                    kernel, template, buffers, temps, numbers, flags, launch.global_size,
                    launch.local_size,
                )
            )  # fmt: skip


def compile_steps(steps: Sequence[PlanStep], device: Any) -> list[Compiled]:
    """Return steps with their kernels, built as one program where they are missing."""
    sources = [generate(x.spec, device.traits) for s in steps for x in s.launches]
    kernels = iter(device.kernels(sources))
    return [Compiled(s, [next(kernels) for _ in s.launches]) for s in steps]


def compile_one_by_one(
    steps: Sequence[PlanStep], device: Any
) -> tuple[list[Compiled], dict[int, BaseException]]:
    """Return what `compile_steps` does, and what is wrong with the steps that do not build."""
    compiled: list[Compiled] = []
    broken: dict[int, BaseException] = {}
    for step in steps:
        try:
            compiled += compile_steps((step,), device)
        except Exception as error:
            broken[len(compiled)] = error
            compiled.append(Compiled(replace(step, launches=[]), ()))
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
            compiled_steps = plan.compiled = compile_steps(plan.steps, device)
        except Exception:  # which the steps that do not build will raise again
            compiled_steps, broken = compile_one_by_one(plan.steps, device)
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
            for made, taken in step.donate:
                registers[made] = registers[taken]
            for ref, nbytes in step.alloc:
                registers[ref] = device.allocate(nbytes)
            for source, target, nbytes in step.copies:
                device.copy(registers[source], registers[target], nbytes)
            temps = [device.allocate(n) for n in step.scratch] if step.scratch else ()
            for (
                kernel,
                template,
                buffers,
                wanted,
                numbers,
                flags,
                global_size,
                local_size,
            ) in compiled.calls:
                args = template.copy()
                for position, ref in buffers:
                    args[position] = registers[ref]
                for position, k in wanted:
                    args[position] = temps[k]
                for position, entry, k in numbers:
                    args[position] = scalars[entry][k]
                for page, position, entry in flags:
                    name = plan.entries[entry].sig.op.name
                    args[page], args[position] = flags_of(device).claim(name, places.get(entry))
                kernel(args, global_size, local_size)
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
