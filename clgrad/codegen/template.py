"""The Jinja2 environment: where templates are found and how they are rendered.

Templates hold structure (loops, tiles, indices) and nothing else; what they are given is decided
in the spec modules. This is the only importer of jinja2. A missing variable is an error, never an
empty string.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from clgrad.codegen.source import digest
from clgrad.errors import FormulaError

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
_PLACEHOLDER = "cg_name_of_this_kernel"
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Return the environment of all templates.

    The wheel carries the templates inside the package; an editable install does not place them
    there, so that the repository's folder is the second one that is searched.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in _FOLDERS]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        autoescape=False,
    )


def render_template(name: str, /, **variables: Any) -> str:
    """Render the template `name` with `variables`; runs of blank lines become one.

    Raises:
        jinja2.UndefinedError: the template reads a variable that was not given.
    """
    return _tidy(environment().get_template(name).render(**variables))


def _tidy(text: str) -> str:
    """Return rendered text with blocks indented by their braces and without runs of blank lines.

    A macro does not know how deep it is called, so indentation is nothing that templates decide. A
    line that goes on within brackets or a comment keeps its place beside the one it belongs to.
    """
    lines = []
    depth = brackets = shift = 0
    comment = False
    for line in _BLANK_LINES.sub("\n\n", _TRAILING_SPACE.sub("", text)).strip().splitlines():
        code = line.lstrip()
        found = len(line) - len(code)
        if not comment and not brackets:
            shift = 4 * (depth - code.startswith("}")) - found
        lines.append(" " * (found + shift) + code if code else "")
        if not comment:
            depth += code.count("{") - code.count("}")
            brackets += code.count("(") - code.count(")")
        comment = "*/" not in code if comment or code.startswith("/*") else False
    return "\n".join(lines) + "\n"


def render_text(text: str, op: str, /, **variables: Any) -> tuple[str, str]:
    """Render the kernel of a user's template as `render_kernel` does the library's.

    Raises:
        FormulaError: the template cannot be read, or reads a variable that it is not given.
    """
    try:
        made = environment().from_string(text).render(name=_PLACEHOLDER, **variables)
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        where = "" if line is None else f" in line {line}"
        raise FormulaError(
            f"primitive {op!r}: its template has a mistake{where}: {error.message}. Hint: "
            "clgrad.codegen.custom lists what a template is given."
        ) from error
    made = _tidy(made)
    if _PLACEHOLDER not in made:
        raise FormulaError(
            f"primitive {op!r}: its template does not use `name`. Expected `__kernel void "
            "{{ name }}({{ parameters }})`."
        )
    name = f"cg_{op}_{digest(made, length=10)}"
    return name, made.replace(_PLACEHOLDER, name)


def render_kernel(template: str, family: str, /, **variables: Any) -> tuple[str, str]:
    """Render the template of one kernel, which reads its own name from the variable `name`.

    Args:
        template: file name in the templates folder.
        family: middle part of the kernel's name.
        variables: everything else that the template reads.

    Returns:
        The name, `cg_<family>_<10 hex digits of the text>`, and the text that bears it.
    """
    text = render_template(template, name=_PLACEHOLDER, **variables)
    name = f"cg_{family}_{digest(text, length=10)}"
    return name, text.replace(_PLACEHOLDER, name)
