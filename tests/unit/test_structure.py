"""Structure of the source: sizes of modules and functions, docstrings; no skips in tests.

ruff checks the length of lines (E501), import-linter the direction of imports.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE_MIN = 40  # lines of a module that a single other one imports
FUNCTION_MAX = 40  # lines
COLUMNS_MAX = 100
# first words of a relative clause, which names no concept
NO_CONCEPT = re.compile(r"(By|Whose|As whom|What is|Who|Which|How|Where)\b")

SOURCES = {path: path.read_text() for path in sorted((ROOT / "s3mount").rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}


def name_of(path: Path) -> str:
    """Return the dotted name of the module at *path*."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Yield every name that *tree* imports, and every module that it imports from."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(module), names, 0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)


def importers() -> dict[str, set[str]]:
    """Return the importers of every module; a command of pyproject.toml is one."""
    found: dict[str, set[str]] = defaultdict(set)
    commands = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for command, function in commands.items():
        found[function.partition(":")[0]].add(command)
    for path, tree in TREES.items():
        for name in imports_of(tree):
            found[name].add(name_of(path))
    return found


def documented() -> Iterator[tuple[str, ast.Module | ast.ClassDef]]:
    """Yield every module and class with its place in the source."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            match node:
                case ast.Module():
                    yield name_of(path), node
                case ast.ClassDef(name):
                    yield f"{name_of(path)}.{name}", node


def nested_in(tree: ast.Module) -> Iterator[str]:
    """Names of the classes that functions define."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (each.name for each in ast.walk(node) if isinstance(each, ast.ClassDef))


def is_private(name: str) -> bool:
    return name.rpartition(".")[2].startswith("_")


def test_imports_are_absolute() -> None:
    relative = [
        f"{name_of(path)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []


def test_a_small_module_has_several_importers() -> None:
    known = importers()
    small = [
        f"{name_of(path)}: {text.count(chr(10))} lines, imported by {known[name_of(path)]} only"
        for path, text in SOURCES.items()
        if path.stem not in ("__init__", "__main__")
        and text.count("\n") < MODULE_MIN
        and len(known[name_of(path)]) == 1
    ]

    assert any(len(modules) > 1 for modules in known.values())
    assert small == []


def test_no_function_is_long() -> None:
    sizes = {
        f"{name_of(path)}.{node.name}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert sizes
    assert {name: size for name, size in sizes.items() if size > FUNCTION_MAX} == {}


def test_every_module_and_public_class_has_a_docstring() -> None:
    nested = {f"{name_of(path)}.{name}" for path, tree in TREES.items() for name in nested_in(tree)}

    bare = [name for name, node in documented() if not ast.get_docstring(node)]

    assert [name for name in bare if not is_private(name) and name not in nested] == []


def test_the_first_line_of_a_docstring_states_a_concept() -> None:
    first_lines = {
        name: (ast.get_docstring(node) or "").partition("\n")[0] for name, node in documented()
    }

    assert any(first_lines.values())
    assert {name: line for name, line in first_lines.items() if NO_CONCEPT.match(line)} == {}
    assert {name: line for name, line in first_lines.items() if len(line) > COLUMNS_MAX} == {}


def test_each_sleep_of_a_test_has_its_reason() -> None:
    """Waiting is done in tests.waiting; the rest is the latency of a store, or its like."""
    lines = (
        (path.relative_to(ROOT), line.strip())
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path not in (ROOT / "tests/waiting.py", Path(__file__))
        for line in path.read_text().splitlines()
    )

    assert [each for each in lines if "time.sleep(" in each[1] and "  # " not in each[1]] == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    marks = re.compile(r"\b(pytest|mark)\.(skip|skipif|xfail|importorskip)\b")
    texts = {path: path.read_text() for path in sorted((ROOT / "tests").rglob("*.py"))}

    assert [path for path, text in texts.items() if marks.search(text)] == []
