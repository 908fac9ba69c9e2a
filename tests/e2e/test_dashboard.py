"""The dashboard in a browser: what is seen of a start, a rollout, a claim and a probe, and what is done by it.

The browser is the system's Chromium. A test waits for what the page shows, as a person would.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from petset.objects import documents
from tests.e2e.cluster import Cluster

pytestmark = pytest.mark.services
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

CHROMIUM = shutil.which("chromium")
SEEN_MS_MAX = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("needs the system's chromium")
    expect.set_options(timeout=SEEN_MS_MAX)
    with playwright.sync_playwright() as started:
        # Root may not have Chromium's own sandbox.
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def simulated(make_cluster) -> Cluster:
    cluster = make_cluster()
    cluster.up("--simulate", "--nodes", "2")
    return cluster


def link(cluster: Cluster) -> str:
    return cluster.petset("open", "--print").stdout.strip()


class Page:
    """A tab of a browser that has never been here; whatever it refuses to run fails the test."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(ignore_https_errors=True, **options)
        self.context.set_default_timeout(SEEN_MS_MAX)
        self.tab = self.context.new_page()
        self.wrong: list[str] = []
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("console", lambda said: self.wrong.append(said.text) if "Content Security" in said.text else None)

    def sign_in(self, cluster: Cluster) -> Page:
        self.tab.goto(link(cluster))
        expect(self.tab.locator(".connection")).to_have_text("live")
        return self

    def go(self, place: str) -> None:
        self.tab.evaluate("place => { location.hash = place }", place)

    def pet(self, name: str):
        return self.tab.locator(f'.rail [data-pet="{name}"]')

    def line(self, name: str):
        return self.tab.locator(f'tr[data-line="{name}"]')

    def story(self, name: str):
        return self.tab.locator(f'[data-set="{name}"] .story')


@pytest.fixture
def fresh(browser) -> Iterator[Page]:
    page = Page(browser)
    yield page
    page.context.close()
    assert page.wrong == []


@pytest.fixture
def page(fresh, simulated) -> Page:
    return fresh.sign_in(simulated)


def service(name: str) -> dict:
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def stateful_set(name: str, replicas: int = 3, pod: dict | None = None, claim: dict | None = None, **spec) -> dict:
    container = {"name": "main", "image": "nginx"}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **(pod or {})}}
    claims = []
    if claim is not None:
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **claim}
        claims.append({"metadata": {"name": "data"}, "spec": asked})
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    whole = {"serviceName": name, "replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    made = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}}
    return {**made, "spec": {**whole, "volumeClaimTemplates": claims, **spec}}


def create(cluster: Cluster, *objects: dict) -> None:
    for each in objects:
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(each))


def patch(cluster: Cluster, name: str, spec: dict) -> None:
    cluster.kubectl("patch", "statefulset", name, "--type=merge", "-p", json.dumps({"spec": spec}))


# -- Signing in


def test_a_browser_that_is_not_signed_in_is_told_how_and_a_link_works_once(fresh, browser, simulated):
    address = link(simulated).partition("#")[0]
    fresh.tab.goto(address)
    expect(fresh.tab.locator("body")).to_contain_text("petset open")
    used = link(simulated)
    fresh.tab.goto(used)  # In the very tab that was told so.
    expect(fresh.tab.locator(".connection")).to_have_text("live")
    assert "open=" not in fresh.tab.url
    [cookie] = fresh.context.cookies()
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict"
    other = Page(browser)
    other.tab.goto(used)
    expect(other.tab.locator(".error")).to_contain_text("used already")
    other.context.close()


def test_a_session_ends_with_petset(make_cluster, fresh):
    cluster = make_cluster()
    cluster.up("--simulate")
    fresh.sign_in(cluster)
    cluster.kill(signal.SIGKILL)
    expect(fresh.tab.locator(".connection")).to_contain_text("cannot reach petset")
    cluster.up("--simulate")
    expect(fresh.tab.locator("body")).to_contain_text("This browser is not signed in")
    fresh.wrong = [text for text in fresh.wrong if "fetch" not in text]


# -- What is seen


def test_an_ordered_start_says_who_waits_for_whom(page, simulated):
    create(simulated, service("order"), stateful_set("order", pod={"nodeSelector": {"disk": "fast"}}))
    expect(page.pet("order-0")).to_have_attribute("data-state", "waiting")
    expect(page.pet("order-2")).to_have_attribute("data-state", "absent")
    expect(page.story("order")).to_contain_text("Starting in order: order-0 waits for a node. order-1 and order-2 wait")
    assert page.pet("order-1").get_attribute("aria-label") == "order-1, to come, waits for number 0"
    page.pet("order-0").click()
    expect(page.tab.locator(".why-not")).to_contain_text("has not the label disk=fast")
    simulated.kubectl("label", "nodes", "--all", "disk=fast")
    expect(page.story("order")).to_have_text("All 3 are ready.")
    expect(page.line("order-1")).to_contain_text("order-1.order.default")
    expect(page.tab.locator(".why-not")).to_have_count(0)


def test_a_rollout_that_halts_shows_the_new_and_the_old(page, simulated):
    create(simulated, service("roll"), stateful_set("roll"))
    expect(page.story("roll")).to_have_text("All 3 are ready.")
    patch(simulated, "roll", {"template": {"spec": {"nodeSelector": {"disk": "none"}}}})
    expect(page.pet("roll-2")).to_have_attribute("data-state", "waiting")
    expect(page.story("roll")).to_contain_text("roll-2 waits for a node. roll-1 and roll-0 wait until it is ready.")
    expect(page.pet("roll-0")).to_have_class(re.compile(r"\bold\b"))
    expect(page.pet("roll-2")).not_to_have_class(re.compile(r"\bold\b"))
    page.go("#/pets/statefulsets/default/roll")
    page.tab.get_by_role("button", name="Roll back …").click()
    expect(page.tab.locator("dialog")).to_contain_text("does not bring older data back")
    page.tab.get_by_role("button", name="Roll back", exact=True).click()
    simulated.kubectl("delete", "pod", "roll-2", "--wait=false")  # As upstream: a halted pet is not replaced unasked.
    expect(page.story("roll")).to_have_text("All 3 are ready.")


def test_a_claim_that_waits_and_volumes_that_stay(page, simulated):
    create(simulated, service("kept"), stateful_set("kept", 1, claim={"storageClassName": "none"}))
    expect(page.pet("kept-0").locator(".tray.pending")).to_be_visible()
    expect(page.line("kept-0")).to_contain_text("data-kept-0 is pending")
    simulated.kubectl("delete", "statefulset,pod,pvc", "-l", "app=kept", "--wait=false")
    create(simulated, service("stay"), stateful_set("stay", 3, claim={}))
    expect(page.story("stay")).to_have_text("All 3 are ready.")
    page.go("#/pets/statefulsets/default/stay")
    page.tab.get_by_role("button", name="Scale …").click()
    page.tab.locator("dialog input").fill("1")
    expect(page.tab.locator("dialog")).to_contain_text("(data-stay-1 and data-stay-2) stay, with all data")
    page.tab.get_by_role("button", name="Scale", exact=True).click()
    expect(page.story("stay")).to_have_text("stay-0 is ready.")
    expect(page.tab.locator('[data-set="stay"] .kept')).to_have_text("2 volumes kept for later")


def test_the_picture_has_services_pods_and_volumes(page, simulated):
    create(simulated, service("map"), stateful_set("map", 2, claim={}))
    expect(page.story("map")).to_have_text("All 2 are ready.")
    page.go("#/map")
    expect(page.tab.get_by_role("link", name=re.compile("Service map, headless .* 2 of 2 ready"))).to_be_visible()
    expect(page.tab.get_by_role("link", name="map-1, ready")).to_be_visible()
    expect(page.tab.get_by_role("link", name="claim data-map-0, 1 GiB")).to_be_visible()
    assert page.tab.locator("path.endpoint").count() >= 2 and page.tab.locator("path.tray").count() >= 2


def test_events_are_a_timeline_and_any_kind_is_found(page, simulated):
    create(simulated, service("told"), stateful_set("told", 1))
    page.go("#/timeline")
    page.tab.get_by_placeholder("name, reason or words").fill("told-0")
    expect(page.tab.locator(".timeline li").filter(has_text="Scheduled")).to_have_count(1)
    page.go("#/objects")
    page.tab.locator(".bar select").select_option("apis/rbac.authorization.k8s.io/v1/clusterroles")
    page.tab.get_by_placeholder("words").fill("petset:dashboard")
    page.tab.get_by_role("link", name="petset:dashboard").first.click()
    page.tab.get_by_role("tab", name="YAML").click()
    expect(page.tab.locator("textarea")).to_have_value(re.compile("nonResourceURLs"))


# -- What is done


def test_yaml_is_applied_and_a_conflict_is_told_before_it_is_won(page, simulated):
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}, "data": {"a": "1"}}
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(made))
    page.go("#/objects/api%2Fv1%2Fconfigmaps/default/owned/yaml")
    text = page.tab.locator("textarea")
    expect(text).to_have_value(re.compile("a: '1'"))
    text.fill(text.input_value().replace("a: '1'", "a: '2'"))
    page.tab.get_by_role("button", name="Apply").click()
    expect(page.tab.locator(".editor [role=status]")).to_contain_text("conflict with")
    page.tab.get_by_role("button", name="Take these fields over").click()
    expect(page.tab.locator(".editor [role=status]")).to_have_text("applied")
    assert simulated.kubectl.json("get", "configmap", "owned")["data"] == {"a": "2"}


def test_the_keyboard_is_enough(page, simulated):
    create(simulated, service("keys"), stateful_set("keys", 2))
    expect(page.story("keys")).to_have_text("All 2 are ready.")
    page.pet("keys-1").focus()
    page.tab.keyboard.press("Enter")
    expect(page.tab.locator(".inspector h2")).to_have_text("keys-1")
    page.tab.locator("#tab-facts").focus()
    page.tab.keyboard.press("ArrowRight")
    expect(page.tab.locator("#tab-log")).to_be_focused()
    expect(page.tab.locator(".log pre")).to_contain_text("this container is simulated")
    page.tab.keyboard.press("Escape")
    expect(page.tab.locator(".inspector")).to_have_count(0)


def test_a_phone_shows_it_without_scrolling_sideways(browser, simulated):
    create(simulated, service("phone"), stateful_set("phone", 2))
    page = Page(browser, viewport={"width": 390, "height": 800}, color_scheme="dark").sign_in(simulated)
    expect(page.story("phone")).to_have_text("All 2 are ready.")
    page.pet("phone-1").click()
    expect(page.tab.locator(".inspector h2")).to_have_text("phone-1")
    assert page.tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_five_hundred_pets_change_a_frame_at_a_time(page, simulated):
    """A pet that has not changed keeps its element, whatever happens around it."""
    create(simulated, service("many"), stateful_set("many", 500, podManagementPolicy="Parallel"))
    expect(page.tab.locator('[data-set="many"] [data-state="ready"]')).to_have_count(500, timeout=120_000)
    page.pet("many-7").evaluate("element => { element.seen = true }")
    simulated.kubectl("delete", "pod", "many-8", "many-9", "--wait=false")
    expect(page.story("many")).to_have_text("All 500 are ready.")
    assert page.pet("many-7").evaluate("element => element.seen")


# -- Real containers


def test_a_broken_probe_is_mended_in_the_terminal(cluster, fresh):
    probe = {"exec": {"command": ["cat", "/tmp/mended"]}, "periodSeconds": 1}
    script = "trap 'exit 0' TERM; while true; do echo a line of $HOSTNAME; sleep 0.2; done"
    container = {"name": "main", "image": "debian:jessie", "command": ["bash", "-c", script], "readinessProbe": probe}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    create(cluster, service("probe"), stateful_set("probe", 2, pod=pod))
    fresh.sign_in(cluster)
    expect(fresh.pet("probe-0")).to_have_attribute("data-state", "running", timeout=120_000)
    expect(fresh.story("probe")).to_contain_text("probe-0 is running and not ready yet. probe-1 waits")
    fresh.pet("probe-0").click()
    expect(fresh.tab.locator(".why-not, .reason").first).to_be_visible()
    fresh.tab.get_by_role("tab", name="Log").click()
    expect(fresh.tab.locator(".log pre")).to_contain_text("a line of probe-0")
    fresh.tab.get_by_role("tab", name="Terminal").click()
    expect(fresh.tab.locator(".terminal [role=status]")).to_have_text("a shell in main")
    fresh.tab.locator(".xterm-helper-textarea").focus()
    fresh.tab.keyboard.type("touch /tmp/mended; stty size; printf '\\033[38;2;1;2;3mcolour\\033[0m'\n")
    expect(fresh.pet("probe-0")).to_have_attribute("data-state", "ready")
    expect(fresh.tab.locator(".xterm-rows")).to_contain_text(re.compile(r"\d+ \d+"))
    before = re.findall(r"\b(\d+) (\d+)\b", fresh.tab.locator(".xterm-rows").inner_text())[-1]
    fresh.tab.set_viewport_size({"width": 1000, "height": 600})
    fresh.tab.keyboard.type("clear; stty size\n")

    def is_smaller() -> bool:
        sizes = re.findall(r"\b(\d+) (\d+)\b", fresh.tab.locator(".xterm-rows").inner_text())
        return bool(sizes) and int(sizes[-1][1]) < int(before[1])

    cluster.wait(is_smaller, "the terminal's new size", 20)
    fresh.tab.keyboard.press("F6")
    expect(fresh.tab.locator("#tab-terminal")).to_be_focused()
    expect(fresh.pet("probe-1")).to_have_attribute("data-state", "running")


# -- What it says of a set: pure, of objects that are made up

STORIES = documents.load_all((Path(__file__).parent / "dashboard_stories.yaml").read_bytes())[0]
TOLD = """async ([set, pods]) => {
    const pets = await import("/dashboard/pets.js");
    const told = pets.story(set, pets.placesOf(set, pods));
    return [told.text, Object.fromEntries([...told.waits].map(([number, wait]) => [number, wait.on]))];
}"""


def pod_of(written: str) -> dict:
    """A pod that the dashboard shows as "<number> <state> <revision>" says."""
    number, state, revision = written.split()
    metadata = {"name": f"web-{number}", "labels": {"controller-revision-hash": f"web-{revision}"}}
    if state == "stopping":
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    phase = {"failed": "Failed", "starting": "Pending", "waiting": "Pending"}.get(state, "Running")
    ready = "True" if state in ("ready", "stopping") else "False"
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": metadata, "spec": {} if state == "waiting" else {"nodeName": "n"}, "status": status}


@pytest.fixture(scope="module")
def teller(browser, simulated) -> Iterator[Page]:
    page = Page(browser).sign_in(simulated)
    yield page
    page.context.close()


@pytest.mark.parametrize("case", STORIES, ids=lambda case: case["of"])
def test_what_is_said_of_a_set(teller, case):
    spec = dict(case["set"])
    revisions = {
        f"{name}Revision": f"web-{spec.pop(key, 'a')}" for name, key in (("current", "from"), ("update", "to"))
    }
    status = {**revisions, "observedGeneration": 1}
    of_set = {"kind": "StatefulSet", "metadata": {"name": "web", "generation": 1}, "spec": spec, "status": status}
    text, waits = teller.tab.evaluate(TOLD, [of_set, [pod_of(written) for written in case["pets"]]])
    assert text == case["says"]
    assert waits == case["waits"]
