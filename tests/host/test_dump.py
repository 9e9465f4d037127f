"""The kernel dump without OpenCL: ops for absent devices, origins of kernels, folders."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import clgrad
from clgrad.cli import highlight, terminal
from clgrad.cli.dump import parse_shapes
from clgrad.cli.dump_case import Wanted, make_case, names
from clgrad.cli.dump_op import sections
from clgrad.cli.main import main
from clgrad.errors import ClgradValueError, ClgradWarning
from clgrad.graph import recorder
from clgrad.graph.dump import Folder, index_text, kernel_text
from clgrad.graph.rehearsal import RehearsalDevice
from clgrad.graph.trace import Trace
from clgrad.traits import PRESETS

ROOT = Path(__file__).resolve().parents[2]


def dumped(capsys, *arguments):
    """Return what `clgrad dump` prints."""
    capsys.readouterr()
    status = main(["dump", *arguments])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return printed.out


# ---- ops for devices that are not there ----------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["sigmoid", "mul", "sum", "mm", "rand", "to", "transpose", "var"])
def test_every_structure_is_dumped_for_every_preset(capsys, name, preset):
    text = dumped(capsys, name, "--derivative", "--traits", preset)
    assert text.startswith(f"{name}(")
    assert f"-cl-std={PRESETS[preset].cl_std}" in text
    assert "__kernel" in text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n in names() if not n.endswith("_of_a_test")])
def test_every_op_is_dumped_with_its_derivatives(capsys, name):
    text = dumped(capsys, name, "--derivative", "2", "--traits", "gpu-32")
    assert text.startswith(f"{name}(")


NEEDS_MORE = {
    "empty", "empty_permuted", "empty_strided", "from_numpy", "frombuffer", "get_rng_state",
    "imag", "load", "multi_head_attention_forward", "primitive", "resize_as_", "save", "unique",
    "unique_consecutive",
}  # fmt: skip
"""Functions of tensors with no kernel, with too many arguments, or whose kernels hang on values."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", [clgrad, clgrad.nn.functional, clgrad.special, clgrad.linalg])
def test_every_public_function_is_dumped_without_more_words(absent, module):
    missing = {}
    for name in set(module.__all__) - NEEDS_MORE - set(names()):
        function = getattr(module, name)
        if inspect.isfunction(function) and "Tensor" in function.__annotations__.get("return", ""):
            try:
                list(sections(make_case(name, Wanted(), absent), 1, absent))
            except Exception as error:
                missing[name] = str(error)
    assert missing == {}


def test_an_expression_is_dumped(capsys):
    text = dumped(
        capsys, "softmax(x @ w + b, dim=1)", "--shape", "8x16,16x10,10", "--derivative",
        "--traits", "gpu-32",
    )  # fmt: skip
    assert text.startswith(
        "softmax(x @ w + b, dim=1) of x: float32[8, 16], w: float32[16, 10], b: float32[10] "
        "-> float32[8, 10]"
    )
    assert "\ndx\n" in text
    assert "\ndw\n" in text
    assert "\ndb\n" in text


def test_an_in_place_function_gets_what_is_no_leaf(capsys):
    text = dumped(capsys, "x.mul_(y).exp_()", "--derivative", "--traits", "gpu-32")
    assert "\ndy\n" in text


def test_what_is_set_takes_the_place_of_a_sample(capsys):
    text = dumped(capsys, "conv2d", "--set", "stride=2", "--set", "bias=None", "--traits", "gpu-32")
    assert text.startswith("conv2d(x, w, padding=1, stride=2, bias=None) of x: float32[8, 16, 28")
    assert "-> float32[8, 32, 14, 14]" in text


def test_no_opencl_is_loaded_for_an_absent_device():
    program = (
        "import sys; from clgrad.cli.main import main; "
        "assert main(['dump', 'sigmoid', '--derivative', '--traits', 'gpu-32']) == 0; "
        "assert not [m for m in sys.modules if m.startswith('pyopencl')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 / (1 + exp(-x))" in done.stdout


def test_formulas_what_is_saved_and_each_derivative_are_shown(capsys):
    text = dumped(capsys, "div", "--derivative", "--traits", "cpu-avx2")
    assert "div = a / b" in text
    assert "da = g / b" in text
    assert "saved for backward: a, the operand, because db reads it" in text
    assert "saved for backward: b, the operand, because da, db reads it" in text
    da, db = text.index("\nda\n"), text.index("\ndb\n")
    assert "out0 = x0 / x1" in text[:da]
    assert "div.da(g1, b) = g1 / b" in text[da:db]
    assert "div.db" in text[db:]


def test_a_saved_result_is_told_from_an_operand(capsys):
    text = dumped(capsys, "exp", "--derivative", "--traits", "minimal")
    assert "saved for backward: y, the result, because dx reads it" in text


def test_second_derivatives_name_their_path(capsys):
    text = dumped(capsys, "mul", "--derivative", "2", "--traits", "cpu-avx512")
    assert "\nda.da\n  zero" in text
    assert "mul.da.db(g2, g1) = g2 * g1" in text
    assert "\ndb.dg1\n  mul.db.dg1(g2, a) = g2 * a" in text


def test_the_gradient_of_a_broadcast_operand_is_summed_in_the_same_kernel(capsys):
    text = dumped(capsys, "mul", "--derivative", "--traits", "gpu-32", "--shape", "64x128,128")
    section = text[text.index("\ndb\n") :]
    assert "fold of a0 + b0 over x0 * x1" in section
    assert section.count("__kernel") == 1


def test_a_view_has_an_index_expression_and_no_kernel(capsys):
    text = dumped(capsys, "transpose", "--traits", "cpu-avx512", "--shape", "3x5")
    before, _, after = text.partition("a reader of the view")
    assert "result: element [c0, c1] of [5, 3] is at c0 + c1 * 5" in before
    assert "__kernel" not in before
    assert "p0[c0 + c1 * p0_s1]" in after


def test_a_composite_shows_its_ops_and_its_backward(capsys):
    text = dumped(capsys, "var", "--derivative", "--traits", "gpu-64", "--set", "dim=-1")
    ops = re.findall(r"^//   (\w+) ", text, re.MULTILINE)
    assert ops[:5] == ["mean", "sub", "mul", "sum", "div"]
    assert "def _var_backward" in text


def test_a_plain_function_is_dumped_as_its_ops(capsys):
    text = dumped(capsys, "matmul", "--traits", "cpu-avx2", "--shape", "3x4,4x5")
    assert "mm(a[3, 4], b[4, 5])" in text


def test_operands_follow_the_options(capsys):
    text = dumped(capsys, "add", "--traits", "gpu-32", "--dtype", "float16,int32", "--shape", "7,7")
    assert "add(a: float16[7], b: int32[7]) -> float16[7]" in text
    strided = dumped(capsys, "neg", "--traits", "gpu-32", "--strided", "--shape", "3x5")
    assert "p0[c0 + c1 * p0_s1]" in strided


def test_helpers_are_counted_or_shown(capsys):
    without = dumped(capsys, "exp", "--traits", "gpu-32")
    assert re.search(r"^// \+ \d+ lines of helpers$", without, re.MULTILINE)
    assert "static float cg_exp_float" in dumped(capsys, "exp", "--traits", "gpu-32", "--helpers")


def test_a_kernel_that_came_before_is_only_named(capsys):
    text = dumped(capsys, "mul", "--derivative", "--traits", "gpu-32")
    assert text.count("__kernel") == 1
    assert text.count("as above for mul") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sigmod"], r"no op is called 'sigmod'\. Near are sigmoid"),
        (["zzzz"], r"no op is called 'zzzz'\. Expected one of the table\. Hint: .*--list"),
        (["add", "--shape", "3,4,5"], "3 shapes are given. Expected 2 for add"),
        (["add", "--shape", "3y4"], "'3y4' is no shape"),
        (["add", "--set", "dim=0"], "add has no parameter 'dim'"),
        (["sum", "--set", "dim"], "'dim' sets nothing"),
        (["mm", "--shape", "3x4,5x6"], "mm|matmul.*cannot be multiplied"),
        (["sin", "cos"], "Expected one op"),
        (["x +"], "'x \\+' is no expression"),
        (["x + y", "--set", "dim=0"], "--set goes with a name"),
        (["numel"], "numel\\(x\\) is a int. Expected a tensor"),
        (["softmax(x)"], "softmax.*missing|dim"),
        (["conv2d", "--set", "strides=2"], "conv2d does not take these arguments.*'strides'"),
        ([], "got no op"),
        (["--script", "no_such_file.py"], "no_such_file.py is no file"),
    ],
)
def test_mistakes_are_explained(capsys, arguments, message):
    assert main(["dump", *arguments, "--traits", "minimal"]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_shapes_are_read():
    assert parse_shapes("64x128,128,()") == ((64, 128), (128,), ())
    with pytest.raises(ClgradValueError, match="is no shape"):
        parse_shapes("3x,4")


def test_the_list_names_ops(capsys):
    listed = dumped(capsys, "--list").split()
    assert {"sigmoid", "sum", "mm", "permute"} <= set(listed)
    assert not [name for name in listed if name.startswith("_")]


# ---- colours -------------------------------------------------------------------------------------

SOURCE = """#pragma OPENCL FP_CONTRACT OFF
// out0 = x0 * 2   /* not a block
__kernel void cg_f(__global const float *p0, const int n0)
{
    const float16 v = 1.5e-3f; /* two
    lines */ p0[3] = 0x7fu;
}
"""


def test_colours_change_nothing_but_the_colours(monkeypatch):
    for module in (terminal, highlight):
        monkeypatch.setattr(module, "is_coloured", lambda: True)
    coloured = highlight.highlight(SOURCE)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == SOURCE
    assert "\x1b[34m__kernel\x1b[0m" in coloured
    assert "\x1b[32mfloat16\x1b[0m" in coloured
    assert "\x1b[33m1.5e-3f\x1b[0m" in coloured
    assert "\x1b[2m// out0 = x0 * 2   /* not a block\x1b[0m\n" in coloured


def test_a_pipe_gets_plain_text(capsys):
    assert "\x1b" not in dumped(capsys, "sigmoid", "--traits", "gpu-32")


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.is_coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert highlight.highlight(SOURCE) == SOURCE


# ---- where kernels came from ---------------------------------------------------------------------


@pytest.fixture
def absent():
    """A device that computes nothing."""
    return RehearsalDevice.of_preset("cpu-avx512")


def traced(call):
    """Return the trace of a call."""
    trace = Trace().open()
    with closing(trace):
        made = call()
        recorder.flush()
        del made
    return trace


def test_a_kernel_knows_its_ops_in_order_and_their_lines(absent):
    x = clgrad.empty(64, 128, device=absent)

    def program():
        y = x * 2.0  # first
        return y.exp()  # second

    (kernel,) = traced(program).kernels
    ((origins, count),) = kernel.uses.items()
    assert count == 1
    assert [(o.op, o.formula, o.result) for o in origins] == [
        ("mul", "a * b", "float32[64, 128]"),
        ("exp", "exp(x)", "float32[64, 128]"),
    ]
    first, second = (o.place[1] for o in origins)
    assert second == first + 1
    text = kernel_text(kernel)
    assert "y = x * 2.0  # first" in text
    assert f"test_dump.py:{second}" in text


def test_the_lines_of_a_backward_pass_are_where_it_was_called(absent):
    x = clgrad.empty(64, 128, device=absent, requires_grad=True)

    def program():
        x.sigmoid().sum().backward()
        return x.grad

    trace = traced(program)
    (kernel,) = (k for k in trace.kernels if any("sigmoid.dx" in _ops(o) for o in k.uses))
    assert "x.sigmoid().sum().backward()" in kernel_text(kernel)


def _ops(origins):
    return [o.op for o in origins]


def test_a_kernel_of_several_plans_is_listed_once_with_all_origins(absent):
    def program():
        made = []
        for _ in range(3):
            made.append(clgrad.empty(40, device=absent) + 1)
            recorder.flush()
        made.append(clgrad.empty(50, device=absent) + 1)
        return made

    (kernel,) = traced(program).kernels
    assert sorted(kernel.uses.values()) == [1, 3]
    assert kernel.launches == 4
    assert "launched 4 times" in kernel_text(kernel)
    assert index_text([kernel]).count("test_dump.py:") == 2


def test_both_kernels_of_a_split_reduction_name_it(absent):
    x = clgrad.empty(1 << 20, device=absent)
    trace = traced(lambda: (x * x).sum() + 1)
    assert [_ops(next(iter(k.uses))) for k in trace.kernels] == [["mul", "sum"], ["sum", "add"]]


def test_a_write_into_a_part_is_marked(absent):
    x = clgrad.empty(64, 128, device=absent)

    def program():
        x[3].mul_(2)
        return x

    (kernel,) = traced(program).kernels
    assert _ops(next(iter(kernel.uses)))[-1] == "mul_"


def test_nothing_is_noted_when_the_trace_is_closed(absent):
    trace = traced(lambda: clgrad.empty(8, device=absent).exp())
    again = clgrad.empty(9, 9, device=absent).tanh()
    recorder.flush()
    del again
    assert len(trace.kernels) == 1


def test_traits_that_matter_are_those_that_were_read(absent):
    (kernel,) = traced(lambda: clgrad.empty(640, device=absent).exp()).kernels
    read = kernel.traits_read()
    assert read["unaligned_vectors"] is True
    assert "local_bytes" not in read


def test_a_dumped_file_stands_by_itself(absent):
    (kernel,) = traced(lambda: clgrad.empty(640, device=absent).exp()).kernels
    text = kernel_text(kernel)
    assert all(line.isascii() or line.startswith("//") for line in text.splitlines())
    for helper in set(re.findall(r"\bcg_exp_\w+(?=\()", kernel.source.source)):
        assert re.search(rf"^static \w+ {helper}\(", text, re.MULTILINE)


def test_a_line_that_ends_in_a_backslash_does_not_swallow_the_next(absent):
    x = clgrad.empty(64, device=absent)

    def program():
        return x + \
            x  # fmt: skip

    (kernel,) = traced(program).kernels
    assert "\\\n" not in kernel_text(kernel)


# ---- folders -------------------------------------------------------------------------------------


def test_a_folder_is_created_with_a_file_per_kernel_and_an_index(tmp_path, capsys):
    out = tmp_path / "a" / "b"
    main(["dump", "sigmoid", "--derivative", "--traits", "gpu-32", "--out", str(out)])
    files = sorted(path.name for path in out.iterdir())
    assert [name[:17] for name in files] == ["001_cg_pointwise_", "002_cg_pointwise_", "index.md"]
    index = (out / "index.md").read_text(encoding="utf-8")
    assert all(name in index for name in files[:-1])
    assert "| pointwise | sigmoid.dx |" in index
    assert "2 kernels were written" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path, absent):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    folder = Folder(tmp_path / "file" / "folder")
    (kernel,) = traced(lambda: clgrad.empty(8, device=absent).exp()).kernels
    with pytest.warns(ClgradWarning, match="cannot be written") as caught:
        folder.write([kernel])
    assert len(caught) == 1
    assert folder.failed
