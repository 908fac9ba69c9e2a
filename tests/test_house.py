"""Keeps the house tidy by reading it: one clock, one chance, one way to spawn, no set iterated, a place a library.

What a linter cannot know about this project stands here as tables. A rule that must give way somewhere is given an
entry with its reason, not a comment at the line.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "petset").rglob("*.py"))
LINES_MAX = 700

# What only base/tasks.py may use: the same code must run on the simulation's clock, chance and threads.
FORBIDDEN_MODULES = ("random", "secrets", "time", "uuid")
FORBIDDEN_CALLS = {
    "asyncio.create_task": "tasks.spawn(group, ...)",
    "asyncio.ensure_future": "tasks.spawn(group, ...)",
    "asyncio.to_thread": "tasks.in_thread(...)",
    "asyncio.get_event_loop": "asyncio.get_running_loop()",
    "os.urandom": "tasks.rng()",
    "datetime.now": "tasks.now()",
    "datetime.utcnow": "tasks.now()",
    "datetime.today": "tasks.now()",
}
FORBIDDEN_METHODS = {"run_in_executor": "tasks.in_thread(...)"}
ONE_CLOCK = "base/tasks.py"

# The world is where virtual time and seeded chance are made: `random.Random(seed)` is a type and a maker there, and
# nothing else of the module may be used.
SEEDED_CHANCE = "world/"
# Who starts a task outside of any group, and why.
LOOSE_TASKS = {
    "world/loop.py": "the first task of a loop",
    "world/server.py": "a request is carried out although who asked has died",
    "world/stream.py": "a watch is read whether or not its reader asks for more",
    "world/process.py": "a program that is killed takes nobody with it",
    "testing/following.py": "changes are read while who waits for them decides",
    "testing/virtual.py": "what a caller who does not await asks for is the loop's first task",
}

# Which third-party library is imported where. (A folder ends with a slash.)
LIBRARIES = {
    "argcomplete": ("cli/completion.py",),
    "cbor2": ("objects/cbor.py",),
    "cel_expr_python": ("objects/cel.py",),
    "cryptography": ("base/pki.py", "base/certificates.py"),
    "h2": ("wire/grpc_health.py", "wire/http2.py"),
    "httptools": ("wire/http1.py",),
    "orjson": ("objects/encoding.py",),
    "pytest": ("testing/plugin.py",),
    "prometheus_client": ("base/telemetry.py",),
    "pyroute2": ("node/network/bridge.py", "node/network/conntrack.py"),
    "re2": ("objects/patterns.py",),
    "rich": ("cli/",),
    "uvloop": ("base/process.py",),
    "websockets": ("wire/websocket.py",),
    "yaml": ("objects/documents.py",),
}

# Labels, annotations, finalizers and the like; an API version ("apps/v1") is none.
WELL_KNOWN = re.compile(r"[a-z0-9.-]*(kubernetes|k8s)\.io/(?!v\d+((alpha|beta)\d+)?$)[A-Za-z][\w.-]*")
WELL_KNOWN_HOME = "base/well_known.py"

# Nobody else's machine has these; written so that this file does not contain them itself.
FORBIDDEN_WORDS = (
    r"(?<![\w.-])/" + r"work/(main|shared|brief|\.library)",
    r"/tmp/" + r"v/(bin|lib)",
    r"(?<![\w-])/root/" + r"(?!fs|\.)\w",
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "npm" + r"js\.(org|com)",
    r"proxy\." + r"golang\.org",
    r"crates" + r"\.io",
)


def inside(path: pathlib.Path) -> str:
    return path.relative_to(ROOT / "src" / "petset").as_posix()


@functools.lru_cache(maxsize=1)  # A file is asked about all rules, then the next one.
def tree_of(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@functools.lru_cache(maxsize=1)
def nodes_of(tree: ast.AST) -> list[ast.AST]:
    """Of a whole file, in the order of ast.walk."""
    return list(ast.walk(tree))


def modules_of(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, module) of everything imported, wherever in the file."""
    found: list[tuple[int, str]] = []
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.lineno, node.module))
    return found


def parametrised(paths):
    return pytest.mark.parametrize("path", paths, ids=inside)


RULES: list[Callable[[pathlib.Path], None]] = []


def rule(function: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    """One that every module keeps: it raises AssertionError where one does not."""
    RULES.append(function)
    return function


@parametrised(SOURCES)
def test_a_module_keeps_the_rules(path):
    broken = []
    for each in RULES:
        try:
            each(path)
        except AssertionError as error:
            broken.append(f"{each.__name__}: {error}")
    assert not broken, "\n".join(broken)


@rule
def one_clock_one_chance_one_way_to_spawn(path):
    if inside(path) == ONE_CLOCK:
        return
    tree = tree_of(path)
    seeds = inside(path).startswith(SEEDED_CHANCE)
    wrong = [
        f"line {line}: imports {module}; use base/tasks.py"
        for line, module in modules_of(tree)
        if module.partition(".")[0] in FORBIDDEN_MODULES and not (seeds and module == "random")
    ]
    wrong += [f"line {line}: {use}: chance has no seed; use random.Random(seed)" for line, use in unseeded(tree)]
    for node in nodes_of(tree):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            for name, instead in FORBIDDEN_CALLS.items():
                if dotted == name or dotted.endswith("." + name):
                    wrong.append(f"line {node.lineno}: {name}; use {instead}")
            if node.attr in FORBIDDEN_METHODS:
                wrong.append(f"line {node.lineno}: {node.attr}; use {FORBIDDEN_METHODS[node.attr]}")
        is_loose = isinstance(node, ast.Call) and re.search(r"loop(\(\))?\.create_task$", ast.unparse(node.func))
        if is_loose and inside(path) not in LOOSE_TASKS:
            wrong.append(f"line {node.lineno}: a task without an owner; use tasks.spawn(group, ...)")
    assert not wrong, "\n".join(wrong)


def unseeded(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, use) of the module `random` where it is anything but a Random that is given a seed, or the type's name."""
    seeded = {id(call.func) for call in calls_of(tree) if call.args}
    called = {id(call.func) for call in calls_of(tree)}
    return [
        (node.lineno, ast.unparse(node))
        for node in nodes_of(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random"
        if node.attr != "Random" or (id(node) in called and id(node) not in seeded)
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("random.Random(f'{seed} order')", 0),
        ("def f(chance: random.Random): chance.random()", 0),
        ("random.Random()", 1),
        ("random.random()", 1),
        ("random.SystemRandom()", 1),
    ],
)
def test_the_finder_of_unseeded_chance(source, found):
    assert len(unseeded(ast.parse(source))) == found


@rule
def a_well_known_name_is_spelled_once(path):
    if inside(path) == WELL_KNOWN_HOME:
        return
    wrong = [
        f"line {node.lineno}: {node.value!r}"
        for node in nodes_of(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WELL_KNOWN.fullmatch(node.value)
    ]
    assert not wrong, f"use {WELL_KNOWN_HOME}:\n" + "\n".join(wrong)


# API groups and what is said of them: rows of kinds and tables of rights are where they are read.
GROUP = re.compile(r"[a-z.]+\.k8s\.io(/v\d+((alpha|beta)\d+)?)?")
SUBPROTOCOL = re.compile(r"(.+\.)?(channel|binary)\.k8s\.io")  # Of WebSockets.
GROUP_HOMES = ("kinds/", "base/well_known.py", "server/access/roles.py", "server/access/controller_roles.py")


@rule
def a_group_is_spelled_with_its_kind(path):
    if inside(path).startswith(GROUP_HOMES):
        return
    wrong = [
        f"line {node.lineno}: {node.value!r}"
        for node in nodes_of(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if GROUP.fullmatch(node.value) and not SUBPROTOCOL.fullmatch(node.value)
    ]
    assert not wrong, "use the kind's group or api_version:\n" + "\n".join(wrong)


ONE_COMPOSER = "cluster.py"
BUILDS_THE_API = re.compile(r"(?<![.\w])(api|apis|servers?|server_api)\.Api$")


def test_the_api_is_built_in_one_place():
    """In tests, too: what they run is composed as what users run."""
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno}: use cluster.ControlPlane"
        for path in [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]
        for call in calls_of(tree_of(path))
        if BUILDS_THE_API.search(ast.unparse(call.func)) and path != ROOT / "src" / "petset" / ONE_COMPOSER
    ]
    assert not wrong, "\n".join(wrong)


CLEANUPS = ("close", "aclose", "__aexit__")


@rule
def a_cleanup_waits_by_asyncio_wait(path):
    """Before Python 3.11.4 a timeout in a task that is being cancelled ends as CancelledError, not as TimeoutError."""
    cleanups = []
    for node in nodes_of(tree_of(path)):
        if isinstance(node, ast.AsyncFunctionDef) and node.name in CLEANUPS:
            cleanups += node.body
        elif isinstance(node, ast.Try):
            cleanups += node.finalbody
    inside_them = (part for cleanup in cleanups for part in ast.walk(cleanup))
    wrong = [part.lineno for part in inside_them if isinstance(part, ast.Call) and "timeout" in ast.unparse(part.func)]
    assert not wrong, f"lines {wrong}: use asyncio.wait(..., timeout=...), which the task's cancellation leaves alone"


@rule
def what_failed_is_counted_under_a_text_of_the_source(path):
    """It is a metric's label: one that holds a pod's name has a series a pod, for ever."""
    steps = [call for call in calls_of(tree_of(path)) if ast.unparse(call.func) == "tasks.best_effort"]
    wrong = [
        f"line {call.lineno}: best_effort counts under {ast.unparse(call.args[0])}; say what it is about as the second"
        for call in steps
        if not isinstance(call.args[0], ast.Constant)
    ]
    assert not wrong, "\n".join(wrong)


def calls_of(tree: ast.AST) -> list[ast.Call]:
    return [node for node in nodes_of(tree) if isinstance(node, ast.Call)]


@rule
def no_set_is_iterated(path):
    finder = SetFinder()
    finder.visit(tree_of(path))
    assert not finder.wrong, "the order of a set differs from run to run: sort it, or use dict.fromkeys\n" + "\n".join(
        finder.wrong
    )


ORDERED = ("sorted", "len", "sum", "min", "max", "any", "all", "set", "frozenset", "bool", "isinstance")
ITERATING = ("list", "tuple", "iter", "enumerate", "map", "zip", "filter", "reversed", "next")
SET_METHODS = ("union", "intersection", "difference", "symmetric_difference")


class SetFinder(ast.NodeVisitor):
    """Finds loops over what is plainly a set: literals, set(...), and names that were given or annotated as one."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.known: list[dict[str, bool]] = [{}]
        self.attributes: dict[str, bool] = {}
        self.harmless: dict[int, bool] = {}  # Comprehensions whose order does not matter, by id.

    def visit_Module(self, node: ast.Module) -> None:
        for each in nodes_of(node):
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Attribute):
                self.attributes[each.target.attr] = is_set_type(each.annotation)
            if isinstance(each, ast.ClassDef):
                for field in each.body:
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        self.attributes[field.target.id] = is_set_type(field.annotation)
        self.generic_visit(node)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
        self.known.append({each.arg: is_set_type(each.annotation) for each in arguments})
        self.generic_visit(node)
        self.known.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = function

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.known[-1][target.id] = self.is_set(node.value)
            elif isinstance(target, ast.Attribute) and self.is_set(node.value):
                self.attributes.setdefault(target.attr, True)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            self.known[-1][node.target.id] = is_set_type(node.annotation)

    def is_set(self, node: ast.AST | None) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in SET_METHODS:
                return self.is_set(value)
            case ast.BinOp(left=left, right=right, op=ast.Sub() | ast.BitAnd() | ast.BitOr() | ast.BitXor()):
                return any(self.is_set(side) or is_keys(side) for side in (left, right))
            case ast.Name(id=name):
                return next((scope[name] for scope in reversed(self.known) if name in scope), False)
            case ast.Attribute(attr=name):
                return self.attributes.get(name, False)
            case ast.IfExp(body=one, orelse=other):
                return self.is_set(one) or self.is_set(other)
        return False

    def check(self, iterated: ast.AST, where: ast.AST) -> None:
        if self.is_set(iterated):
            self.wrong.append(f"line {getattr(where, 'lineno', '?')}: {ast.unparse(iterated)[:80]}")

    def visit_For(self, node: ast.For) -> None:
        self.check(node.iter, node)
        self.generic_visit(node)

    def comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        if id(node) not in self.harmless:
            for generator in node.generators:
                self.check(generator.iter, node)
        self.generic_visit(node)

    visit_ListComp = visit_DictComp = visit_GeneratorExp = comprehension

    def visit_Starred(self, node: ast.Starred) -> None:
        self.check(node.value, node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ORDERED:
            self.harmless.update({id(argument): True for argument in node.args})
        if name in ITERATING or (isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "extend")):
            for argument in node.args:
                self.check(argument, node)
        self.generic_visit(node)


def is_set_type(annotation: ast.AST | None) -> bool:
    return annotation is not None and bool(re.match(r"(frozen)?set\b", ast.unparse(annotation).strip("'\"")))


def is_keys(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("for x in {1, 2}: pass", 1),
        ("def f(a: set[str]):\n return [x for x in a]", 1),
        ("def f(a: set[str]):\n return sorted(a), [x for x in sorted(a)], any(x for x in a), {x for x in a}", 0),
        ("a = set()\nfor x in a: pass", 1),
        ("a = set()\na = sorted(a)\nfor x in a: pass", 0),
        ("class C:\n def f(self):\n  self.s = set()\n  return list(self.s)", 1),
        ("def f(a, b):\n for x in a.keys() - b.keys(): pass", 1),
        ("def f(a, b):\n for x in a - b: pass", 0),
        ("','.join({1})", 1),
        ("[*{1, 2}]", 1),
        ("for x in {1: 2}: pass", 0),
    ],
)
def test_the_finder_of_sets(source, found):
    finder = SetFinder()
    finder.visit(ast.parse(source))
    assert len(finder.wrong) == found


@rule
def a_module_is_not_too_long(path):
    assert len(path.read_text().splitlines()) <= LINES_MAX, "it is two modules with good names"


@rule
def a_module_says_what_it_is(path):
    tree = tree_of(path)
    if path.name != "__init__.py" or tree.body:
        assert ast.get_docstring(tree), "a module begins with what it is"


@rule
def a_library_is_imported_in_one_place(path):
    own = inside(path)
    wrong = []
    for line, module in modules_of(tree_of(path)):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == "petset":
            continue
        places = LIBRARIES.get(top, ())
        if not any(own == place or (place.endswith("/") and own.startswith(place)) for place in places):
            wrong.append(f"line {line}: {top} belongs to {', '.join(places) or 'nowhere: record it'}")
    assert not wrong, "\n".join(wrong)


def texts() -> list[pathlib.Path]:
    """The files of the repository; without git, those that look like it."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        hidden = (".git", ".venv", ".petset", ".cache")
        paths = [path for path in ROOT.rglob("*") if not any(part in hidden for part in path.parts)]
    else:
        paths = [ROOT / name for name in listed.decode().split("\0") if name]
    return sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def test_nothing_in_the_repository_is_of_one_machine():
    pattern = re.compile("|".join(f"(?:{word})" for word in FORBIDDEN_WORDS))
    wrong = []
    for path in texts():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := pattern.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {found.group()}")
    assert not wrong, "\n".join(wrong)


# -- A list that is searched once for each element of another makes the product of their lengths.

SEARCHED_ROOMS = ("objects/", "server/")


def _lists_of(function: ast.AST) -> dict[str, None]:
    """The names that a function itself makes lists: `x = []`, `x: list[...] = ...`, `x = [... for ...]`."""
    found: dict[str, None] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if ast.unparse(node.annotation).startswith("list["):
                found[node.target.id] = None
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.ListComp)):
            found |= {target.id: None for target in node.targets if isinstance(target, ast.Name)}
    return found


def searches_in_loops(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, name) of each `... in name` inside of a loop where the name is a list, or a value got out of an object."""
    loops = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found: dict[tuple[int, str], None] = {}
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        lists = _lists_of(function)
        for loop in (node for node in ast.walk(function) if isinstance(node, loops)):
            for node in ast.walk(loop):
                if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], (ast.In, ast.NotIn)):
                    continue
                place = node.comparators[0]
                if (isinstance(place, ast.Name) and place.id in lists) or ".get(" in ast.unparse(place):
                    found[(node.lineno, ast.unparse(place))] = None
    return list(found)


def test_no_list_is_searched_in_a_loop():
    found = [
        f"{path.relative_to(ROOT)}:{line}: in {name}"
        for path in SOURCES
        if str(path.relative_to(ROOT / "src" / "petset")).startswith(SEARCHED_ROOMS)
        for line, name in searches_in_loops(ast.parse(path.read_text()))
    ]
    assert not found, found


def test_the_search_for_searches_finds_them():
    text = (
        "def f(a, o):\n  s: list[int] = []\n  d = {}\n  for x in a:\n    if x in s or x in d: s.append(x)\n  return s"
    )
    assert searches_in_loops(ast.parse(text)) == [(5, "s")]
    text = "def f(a, o):\n  return [x for x in a if x not in (o.get('b') or ())]"
    assert searches_in_loops(ast.parse(text)) == [(2, "o.get('b') or ()")]
