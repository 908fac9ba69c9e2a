"""What the demo prints while pets come up."""

from __future__ import annotations

from dataclasses import replace

from petset.cli.showing import pets

NONE = pets.Pet(0, "rd-0", pets.NOT_CREATED, False, "", "rd-0.redis.default.svc.cluster.local", "")


def test_a_change_is_a_line_and_says_only_what_changed():
    pending = replace(NONE, phase="Pending", volume="pvc-1")
    running = replace(pending, phase="Running", address="10.0.0.2", ready=True)
    one = replace(NONE, ordinal=1, name="rd-1")
    assert pets.changes([], [NONE, one]) == []
    assert pets.changes([NONE, one], [pending, one]) == ["rd-0: Pending, has volume pvc-1"]
    assert pets.changes([pending, one], [pending, one]) == []
    assert pets.changes([pending], [running, replace(one, phase="Pending")]) == [
        "rd-0: Running, has address 10.0.0.2, is ready",
        "rd-1: Pending",
    ]
    assert pets.changes([running], [replace(running, ready=False)]) == ["rd-0: is not ready"]
    assert pets.changes([running], [NONE]) == ["rd-0: not yet created, is not ready"]


def test_the_table_is_whole_however_narrow_the_reader_is():
    running = replace(NONE, phase="Running", address="10.0.0.2", ready=True, volume="pvc-" + "0" * 36)
    heading, line = pets.written([running])
    assert line.split() == ["0", "rd-0", "Running", "yes", "10.0.0.2", running.dns_name, running.volume]
    assert heading.index("volume") == line.index("pvc-")
