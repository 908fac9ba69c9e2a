"""Whether ARCHITECTURE.md says what is so: each sentence that the sources can answer is asked of them here.

What imports what is held by lint-imports (`make check`), how the code reads by tests/test_house.py, that objects are
frozen by tests/frozen.py, what a cluster promises by the worlds and the torture loops. A rule that must give way
somewhere is given an entry with its reason.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

import pytest

from tests.test_house import ROOT, SOURCES, inside, modules_of, nodes_of, texts, tree_of

# -- Every path and file that a document names exists.

DOCUMENTS = [ROOT / name for name in ("ARCHITECTURE.md", "README.md", "STYLE.md", "CONTRIBUTING.md")]
DOCUMENTS = [path for path in DOCUMENTS if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))
OF_OTHERS = ("test/e2e",)  # Of Kubernetes' own repository.
FILE = re.compile(r"[\w.*/-]+\.(py|md|json|yaml|toml)")
FOLDER = re.compile(r"[\w-]+(/[\w-]+)*/")


@functools.cache
def paths() -> tuple[str, ...]:
    """Every file and folder of the repository, folders with a slash at their end."""
    files = [path.relative_to(ROOT).as_posix() for path in texts()]
    folders = {
        f"{parent}/" for name in files for parent in map(str, list(ROOT.joinpath(name).relative_to(ROOT).parents))
    }
    return tuple(sorted([*files, *folders]))


def exists(name: str, below: tuple[str, ...] = ("",)) -> bool:
    """Whether something below one of the folders ends with this name; "*" stands for any letters."""
    name += "/" if f"{name}/" in paths() else ""
    pattern = re.compile(f"(.*/)?{re.escape(name).replace(re.escape('*'), '[^/]*')}")
    return any(
        pattern.fullmatch(path.removeprefix(folder)) for folder in below for path in paths() if path.startswith(folder)
    )


@functools.cache
def is_made_by_us(name: str) -> bool:
    """Whether it is a file that petset itself writes into a state directory."""
    return any(f'"{name}"' in path.read_text() for path in SOURCES)


def named_in(text: str) -> list[str]:
    """The files and folders of ours that stand in a text's code marks."""
    tops = {path.partition("/")[0] for path in paths() if "/" in path}
    rooms = {inside(path).partition("/")[0] for path in SOURCES}
    found = []
    for words in re.findall(r"`([^`\n]+)`", text):
        for word in words.split():
            is_ours = word.partition("/")[0] in tops | rooms and "/" in word and re.fullmatch(r"[\w./*-]+", word)
            if (FILE.fullmatch(word) or FOLDER.fullmatch(word) or is_ours) and word not in OF_OTHERS:
                found.append(word)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_exists(document):
    wrong = [
        name for name in named_in(document.read_text()) if not exists(name.rstrip(".")) and not is_made_by_us(name)
    ]
    wrong += [
        link for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()) if not (document.parent / link).exists()
    ]
    assert not wrong, f"{document.name} names what is not there: {wrong}"


ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
ROOMS = re.findall(r"^\| `([\w./]+)` \| (.*) \|$", ARCHITECTURE, re.M)


@pytest.mark.parametrize(("room", "says"), ROOMS, ids=[room for room, _ in ROOMS])
def test_what_a_room_is_said_to_have_is_in_it(room, says):
    home = (f"src/petset/{room}", room) if room.endswith("/") else ("",)
    assert exists(room)
    wrong = [name for name in named_in(says) if not exists(name, home) and name not in paths()]
    assert not wrong, f"not in {room}: {wrong}"


def test_every_room_is_on_the_page():
    rooms = {inside(path).partition("/")[0] for path in SOURCES if "/" in inside(path)}
    told = {room.rstrip("/") for room, _ in ROOMS}
    assert rooms <= told and len(ROOMS) > 15


def test_the_ways_by_file_name_can_be_followed():
    ways = re.findall(r"^- [\w ]+: (\S+ > .*)$", ARCHITECTURE, re.M)
    assert len(ways) >= 5
    wrong = []
    for way in ways:
        for step in re.sub(r"\([^)]*\)", "", way).replace(",", " > ").split(" > "):
            name = step.strip().partition(" ")[0]
            name = name.removesuffix(".reconcile")
            if not (exists(f"{name}.py", ("src/petset/",)) or exists(f"{name}/", ("src/petset/",))):
                wrong.append(step.strip())
    # What is no place: what a reader finds at one.
    assert [step for step in wrong if step not in ("what is observed", "oci")] == []


# -- Package data is read in one place; the pure rooms read no other files.

PURE = ("wire/", "kinds/", "objects/")
READS_FILES = re.compile(r"(^open$|\.(open|read_text|read_bytes|write_text|write_bytes|joinpath|iterdir)$)")
# Who asks where the code itself lies, and why.
KNOW_WHERE_THEY_ARE = {
    "objects/package_data.py": "package data",
    "base/state.py": "a checkout keeps its state at its root",
    "base/reasons.py": "which lines of a traceback are ours",
    "kinds/builtin.py": "a kind is a file: the modules beside it",
}


def test_package_data_is_read_in_one_place():
    wrong = [
        f"{inside(path)}:{line}: {module}"
        for path in SOURCES
        if inside(path) not in KNOW_WHERE_THEY_ARE
        for line, module in modules_of(tree_of(path))
        if module.startswith(("importlib.resources", "importlib.util", "pkgutil"))
    ]
    for path in SOURCES:
        own = inside(path)
        is_pure = own.startswith(PURE) and own != "objects/package_data.py"
        for node in nodes_of(tree_of(path)):
            named = getattr(node, "id" if isinstance(node, ast.Name) else "attr", "")
            if named == "__file__" and own not in KNOW_WHERE_THEY_ARE:
                wrong.append(f"{own}:{node.lineno}: __file__")
            if is_pure and isinstance(node, ast.Call) and READS_FILES.search(ast.unparse(node.func)):
                wrong.append(f"{own}:{node.lineno}: {ast.unparse(node)[:60]} in a pure room")
    assert not wrong, "use objects/package_data.py:\n" + "\n".join(wrong)


# -- A kind is a file.


def test_a_kind_is_a_file_and_its_row_is_made_in_no_other_room():
    made = [
        inside(path)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Kind", "registry.Kind")
    ]
    # Scale is no kind with a place of its own, but the body of a subresource; a stranger's kind is known by its place,
    # a custom one by its definition, and for a test and for `petset run` by discovery.
    others = [name for name in made if not name.startswith("kinds/")]
    assert others == [
        "client/discovery.py",
        "server/aggregated/everywhere.py",
        "server/custom/kinds.py",
        "server/routes.py",
        "server/scales.py",
    ]


# -- Nothing polls.

WAITS = re.compile(r"(^|\.)(sleep|wait_for|timeout|timeout_at)$")
# Who waits for time in a loop, and what for. (Waiting for nothing, sleep(0), lets others have their turn.)
MAY_WAIT_FOR_TIME = {
    "base/notices.py keep_alive": "systemd's watchdog, where it watches, wants to hear that the loop goes round",
    "node/disk.py run": "the look every ten seconds at how full the node's disks are",
    "node/pods/storage.py keep_to_limits": "the look every ten seconds at pods with a limit of storage",
    "node/volumes/space.py until_due": "the look every minute at how full pods' claims are: nobody tells",
    "node/memory.py run": "the look every ten seconds at how much memory is available: nobody tells",
    "node/static_pods.py run": "a mirror pod that was refused is tried again after ten seconds",
    "node/registration.py renew_lease": "a lease is a promise that is renewed",
    "node/agent.py _tell_images": "images that come at once are told together, a while after an event says so",
    "node/agent.py _stay_ready": "says once more what somebody denied, not sooner than the next lease",
    "node/pods/probing.py _probe": "a probe has a period: the pod's spec says so",
    "node/simulated.py events": "until the next simulated process ends",
    "node/simulated.py stop_container": "a simulated process takes so long to end",
    "node/containers/stillness.py _halted": "no event tells when a group stands still, and it takes milliseconds",
    "node/volumes/copies.py _tell": "says every ten seconds how far a copy is, while one is made",
    "node/containers/cgroups.py _let_processes_end": "no event tells when a killed process leaves its group",
    "base/tasks.py retrying": "growing delays after a failure",
    "client/informer.py run": "growing delays after a watch that failed",
    "client/following.py states": "as there",
    "serving/keeper.py keep": "until the certificate is to be renewed, or what did not go through is tried again",
    "kept/store.py _carried_through": "a write that was not answered is tried again, a few times",
    "kept/store.py _looked": "a read that was not answered is tried again, a few times",
    "node/pods/reporting.py _report": "growing delays after a write that failed",
    "node/registration.py _write_status": "growing delays after a write that failed",
    "scheduler/loop.py _rounds": "growing delays after a binding that failed",
    "server/rest.py _changed": "a write that others were faster than is tried again, a few times",
    "server/rest.py remove": "as a change is",
    "server/custom/definitions.py _follow": "a write that had no room on the disk is tried again",
    "server/custom/definitions.py _emptied": "as there",
    "server/aggregated/descriptions.py keep": "what an API elsewhere says of itself is read every minute: nobody tells",
    "server/aggregated/services.py _rounds": "an API elsewhere is asked every 30 s whether it is there: nobody tells",
    "server/audit/webhook.py keep": "batches are sent no more often than the settings say",
    "server/audit/webhook.py _send": "growing delays after a batch that was not taken",
    "server/delegated/answers.py _tried": "growing delays after a question that the cluster did not answer",
    "server/expiry.py _follow": "until the time of the next event is over",
    "cli/asking/connection.py _until_ready": "a petset that is starting has nobody yet who could tell",
    "cli/given/applying.py kind_of": "no event tells when a kind that was just defined is served",
    "cli/given/applying.py _remaining": "until what was deleted is gone, of any kinds",
    "cli/run.py _until_ready": "changes that come at once are looked at together",
    "cli/proofs/stage.py until": "the service that is shown tells nobody when it has done it",
    "testing/virtual.py _ready": "as there",
    "world/": "virtual time: waiting costs nothing",
}


def waits_in_loops(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(function, line) of each wait for time inside of a loop, and of a thread's wait for time anywhere."""
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node).startswith("select.select([], [], []"):
                yield function.name, node.lineno
        for loop in (node for node in ast.walk(function) if isinstance(node, (ast.While, ast.For, ast.AsyncFor))):
            for node in ast.walk(loop):
                if (
                    isinstance(node, ast.Call)
                    and WAITS.search(ast.unparse(node.func))
                    and ast.unparse(node) != "asyncio.sleep(0)"
                ):
                    yield function.name, node.lineno


def test_nothing_polls():
    found = {f"{inside(path)} {name}": line for path in SOURCES for name, line in waits_in_loops(tree_of(path))}
    may = [place for place in found if place in MAY_WAIT_FOR_TIME or place.startswith("world/")]
    wrong = [f"{place}, line {found[place]}" for place in found if place not in may]
    assert not wrong, "these wait for time in a loop; wait for the event, or say why not:\n" + "\n".join(wrong)
    gone = [place for place in MAY_WAIT_FOR_TIME if place not in found and not place.endswith("/")]
    assert not gone, f"these no longer do; take them off the list: {gone}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("async def f():\n while not done(): await asyncio.sleep(1)", 1),
        ("async def f():\n for _ in x:\n  async with asyncio.timeout(1): await y()", 1),
        ("async def f():\n while True: await asyncio.wait_for(x, 1)", 1),
        ("async def f():\n while True: await asyncio.sleep(0)", 0),
        ("async def f():\n await asyncio.sleep(1)", 0),
        ("def f():\n select.select([], [], [], 0.1)", 1),
    ],
)
def test_the_finder_of_polls(source, found):
    assert len(list(waits_in_loops(ast.parse(source)))) == found


# -- Every buffer has a limit, with its unit in its name.

UNITS = "BYTES|CHANGES|EVENTS|LINES|ROWS|HEADERS|CONNECTIONS"
LIMIT = re.compile(rf"(\w+_)?({UNITS})(_[A-Z]+)*_(MAX|KEPT)|(\w+_)?({UNITS.lower()})_max")
COLLECTING = re.compile(r"((collections|asyncio|queue)\.)?(deque|Queue|bytearray)")
# Which names limit what a module collects (in a queue, a bytearray, or a list it keeps and adds to).
BUFFERS = {
    "cli/moving/copying.py": ("COMPLAINT_BYTES_MAX",),
    "client/client.py": ("ANSWER_BYTES_MAX", "FRAME_BYTES_MAX"),
    "client/events.py": ("WAITING_EVENTS_MAX",),
    "client/remote.py": ("OUTPUT_BYTES_MAX", "STATUS_BYTES_MAX"),
    "net/bodies.py": ("bytes_max", "client_bytes_max"),
    "server/pods/proxy.py": ("PAGE_BYTES_MAX",),
    "net/dialer.py": ("READ_AHEAD_BYTES_MAX", "KEPT_CONNECTIONS_MAX"),
    "net/listener.py": ("WRITE_BUFFER_BYTES_MAX", "connections_max", "body_bytes_max"),
    "net/readers.py": ("bytes_max", "client_bytes_max"),
    "net/upgraded.py": ("READ_AHEAD_BYTES_MAX",),
    "node/pods/probes.py": ("OUTPUT_BYTES_MAX", "HEADER_BYTES_MAX"),
    "node/programs.py": ("OUTPUT_LINES_MAX", "LINE_BYTES_MAX"),
    "server/audit/event.py": ("WAITING_EVENTS_MAX", "WAITING_BYTES_MAX"),
    "server/pods/portforward.py": ("HELD_BYTES_MAX",),
    "server/pods/spdy_streams.py": ("EARLY_BYTES_MAX",),
    "server/expiry.py": ("SEGMENT_LINES_MAX", "STALE_LINES_KEPT"),
    "kept/past.py": ("changes_max", "bytes_max"),
    "store/core.py": ("history_changes_max", "history_bytes_max"),
    "store/visible.py": ("DECODED_BYTES_MAX",),
    "store/feed.py": ("changes_max", "bytes_max"),
    "store/history.py": ("changes_max", "bytes_max", "DECODED_PAST_BYTES_MAX"),
    "store/sqlite.py": ("SUPERSEDED_ROWS_KEPT",),
    "wire/dns.py": ("TCP_BYTES_MAX",),
    "wire/grpc_health.py": ("RECEIVED_BYTES_MAX",),
    "wire/http1.py": ("HEAD_BYTES_MAX", "HEADERS_MAX", "body_bytes_max"),
    "wire/http2.py": ("PIECE_BYTES_MAX", "body_bytes_max"),
    "wire/spdy.py": ("CONTROL_BYTES_MAX", "HEADERS_BYTES_MAX"),
    "wire/websocket.py": ("message_bytes_max",),
    "world/laws.py": ("TRACE_LINES_MAX",),
}
# What is bounded by something else, and by what.
BOUNDED_ELSEWHERE = {
    "cli/logs.py": "as many lines as the user asks for",
    "controllers/runner.py": "a key waits once, however often it is asked for: as many as there are objects",
    "node/paths.py": "names of a tree that is on the disk",
    "node/pods/turns.py": "a worker of each pod waits in it at most once",
    "objects/patch.py": "the items of two lists of an object",
    "server/admission/service_addresses.py": "numbers of the networks and of node ports, each once",
    "server/live.py": "entries that the store holds, of one look at a watch that has limits",
    "store/index.py": "the entries of the store",
    "store/packed.py": "the entries and the history of the store, of which it is a smaller form",
    "base/turns.py": "requests that change one object wait in it: server/flow.py limits those",
    "server/pods/websocket_channels.py": "the messages of one read of a stream that has limits",
    "world/": "a simulation's own books",
}
HELD_LISTS_THAT_ARE_NO_BUFFERS = {
    "testing/following.py": "the readers of a few kinds",
    "base/memory.py": "who is told",
    "base/tasks.py": "who waits",
    "base/telemetry.py": "where figures come from",
    "client/informer.py": "who is told, and who waits",
    "controllers/jobs/job.py": "the pods of one look",
    "node/pods/decide.py": "the steps of one plan",
    "node/simulated.py": "the pods that changed since the last look",
    "objects/documents.py": "how deep a document is at this place, which has a limit",
    "objects/expressions/checking.py": "the variables at this place of an expression, whose length has a limit",
    "objects/expressions/cost.py": "the variables at this place of an expression, whose length has a limit",
    "objects/expressions/source.py": "how deep an expression is at this place, whose length has a limit",
    "server/fairness/levels.py": "levels that are gone, as long as requests of theirs are under way",
    "objects/structural/typed_rules.py": "the rules of one schema, which has a limit of them",
    "objects/schema.py": "what is wrong with one object, each of whose lists has a limit",
}


def collectors(tree: ast.AST) -> Iterator[int]:
    """The lines that make a queue or a bytearray without saying at once how long it may get."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and COLLECTING.fullmatch(ast.unparse(node.func)):
            given = [ast.unparse(each.value) for each in node.keywords if each.arg in ("maxlen", "maxsize")]
            if not any(LIMIT.fullmatch(text.rpartition(".")[2]) or text.isdigit() for text in given):
                yield node.lineno


def held_lists(tree: ast.AST) -> Iterator[int]:
    """The lines where an object begins an empty list that it adds to later."""
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        begun, added = {}, {}
        for node in ast.walk(owner):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and ast.unparse(node.value or node) == "[]":
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                begun[ast.unparse(target)] = node.lineno
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("append", "extend"):
                    added[ast.unparse(node.func.value)] = node.lineno
            elif isinstance(node, ast.AugAssign):
                added[ast.unparse(node.target)] = node.lineno
        yield from (line for name, line in begun.items() if name.startswith("self.") and name in added)


def test_every_buffer_has_a_limit_or_a_reason():
    wrong = []
    for path in SOURCES:
        own, tree = inside(path), tree_of(path)
        if own in BUFFERS or own.startswith(tuple(BOUNDED_ELSEWHERE)):
            continue
        lines = [*collectors(tree), *(() if own in HELD_LISTS_THAT_ARE_NO_BUFFERS else held_lists(tree))]
        wrong += [f"{own}:{line}" for line in lines]
    assert not wrong, f"give it a limit with its unit in the name, and add it to BUFFERS: {wrong}"


@pytest.mark.parametrize("own", BUFFERS)
def test_the_limits_of_a_buffer_are_there_and_say_their_unit(own):
    source = (ROOT / "src" / "petset" / own).read_text()
    for limit in BUFFERS[own]:
        assert LIMIT.fullmatch(limit), f"{limit} does not say of what"
        assert len(re.findall(rf"\b_?{limit}\b", source)) >= 2, f"{limit} is not used in {own}"


def test_the_lists_of_buffers_are_not_longer_than_needed():
    for own in (*BOUNDED_ELSEWHERE, *HELD_LISTS_THAT_ARE_NO_BUFFERS):
        trees = [tree_of(path) for path in SOURCES if inside(path).startswith(own)]
        assert any([*collectors(tree), *held_lists(tree)] for tree in trees), f"{own} collects nothing any more"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("q = asyncio.Queue()", 1),
        ("q = deque()", 1),
        ("q = bytearray()", 1),
        ("q = deque(maxlen=EVENTS_MAX)", 0),
        ("q = deque(maxlen=many)", 1),
        ("class C:\n def f(self):\n  self.q = []\n def g(self, x):\n  self.q.append(x)", 1),
        ("class C:\n def f(self):\n  self.q: list[int] = []\n def g(self, x):\n  self.q += [x]", 1),
        ("class C:\n def f(self):\n  self.q = []", 0),
    ],
)
def test_the_finders_of_buffers(source, found):
    tree = ast.parse(source)
    assert len([*collectors(tree), *held_lists(tree)]) == found


# -- Nothing is there that nothing uses.

# Names that whoever is handed the object calls: asyncio's and httptools' protocols, an event loop, a formatter, ctypes.
CALLED_BY_LIBRARIES = re.compile(
    r"connection_made|connection_lost|data_received|get_buffer|buffer_updated|eof_received|datagram_received|error_received|pause_writing"
    r"|resume_writing|on_(message_begin|url|header|headers_complete|body|message_complete|status)"
    r"|_process_events|_write_to_self|formatMessage|_fields_|__\w+__"
)
ENTRIES = {
    "cli/": "arguments run",  # A command is a file that is found by its name.
    "kinds/": "KINDS",  # A kind is a file that is found by being there.
}
# What only tests, the benchmarks and the simulation's players use, and why it stands in src.
USED_FROM_OUTSIDE = {
    "backup.About.petset": "which petset made a backup is for its reader",
    "base.telemetry.Stats": "read as a whole",
    "client.client.Client.raw": "health and metrics, for whoever tests or measures",
    "client.views.Snapshot": "a picture without a server: what pure decisions are tried on",
    "controllers.services.seen.endpoints_of": "all of a service at once: what slices of changes are held against",
    "server.routes.of_strangers": "the paths of another server, once one can be behind ours",
    "kept.store.Stats": "shown whole as metrics; tests count with it",
    "kinds.stored_pet_set.definition": "a cluster is taught it by whoever installs petset there",
    "objects.registry.Kinds.named": "of a kind by its name: tests and whoever has no object",
    "objects.registry.Kinds.with_kind": "kinds come and go",
    "objects.registry.Kinds.without": "kinds come and go",
    "server.writes.Write": "what a write is; server-side apply and audit are to ask",
    "store.core.Stats": "shown whole as metrics; tests count with it",
    "store.visible.Stats": "as there",
    "wire.dns.Soa": "a record is packed whole",
    "wire.websocket.Message.is_text": "what kind of message came",
    "testing": "what tests, scripts and notebooks of others call",
    "world": "the players and referees of a simulation are called by who plays one",
}


def uses() -> tuple[dict[str, dict[str, None]], dict[str, None]]:
    """(the names used of each module, from inside or from others; the attributes used of anything)."""
    modules = {module_name(path): path for path in SOURCES}
    of_module: dict[str, dict[str, None]] = {name: {} for name in modules}
    attributes: dict[str, None] = {}
    for name, path in modules.items():
        called: dict[str, str] = {}
        tree = tree_of(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    if full in modules:
                        called[alias.asname or alias.name] = full
                    elif node.module in modules:
                        of_module[node.module][alias.name] = None
            elif isinstance(node, ast.Import):
                called |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in modules}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                base = called.get(ast.unparse(node.value))
                if base is not None:
                    of_module[base][node.attr] = None
                elif isinstance(node.ctx, ast.Load):
                    attributes[node.attr] = None
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                of_module[name][node.id] = None
            elif isinstance(node, ast.MatchClass):
                attributes |= dict.fromkeys(node.kwd_attrs)
                if node.patterns:  # By place: which fields, only the class knows.
                    attributes[f"{ast.unparse(node.cls).rpartition('.')[2]}(...)"] = None
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                attributes[node.value] = None  # getattr(action, "on_success"), quoted types.
                of_module[name][node.value] = None
    return of_module, attributes


def module_name(path) -> str:
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def test_nothing_is_there_that_nothing_uses():
    of_module, attributes = uses()
    dead = []
    for path in SOURCES:
        module, tree = module_name(path), tree_of(path)
        for node in tree.body:
            dead += [f"{module}.{name}" for name in names_of(node) if name not in of_module[module]]
        for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            is_matched = f"{owner.name}(...)" in attributes
            for node in owner.body:
                if is_matched and isinstance(node, ast.AnnAssign):
                    continue
                dead += [f"{module}.{owner.name}.{name}" for name in names_of(node) if name not in attributes]
    dead = [name.removeprefix("petset.") for name in dead if not CALLED_BY_LIBRARIES.fullmatch(name.rpartition(".")[2])]
    wrong = [name for name in dead if not is_entry(name) and not is_from_outside(name)]
    assert not wrong, "nothing in src uses these; take them away, or say who does:\n" + "\n".join(wrong)


def is_entry(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return any(
        f"{module.replace('.', '/')}/".startswith(room) and last in names.split() for room, names in ENTRIES.items()
    )


def is_from_outside(name: str) -> bool:
    return any(f"{name}.".startswith(f"{known}.") for known in USED_FROM_OUTSIDE)
