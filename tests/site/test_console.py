from __future__ import annotations

import pytest

from tests.site import console

PAGE = """
Text, with $ in it.

```console
$ first --flag
one
two
$ second
$ third
...
```

```sh
$ not this
```
"""


def test_a_page_has_its_commands_in_order():
    assert console.steps(PAGE) == [
        console.Step("first --flag", "one\ntwo\n"),
        console.Step("second", ""),
        console.Step("third", "...\n"),
    ]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("NAME  READY\nweb-0 1/1\n", "NAME      READY\nweb-0     1/1\n"),
        ("answers after ... s\n", "answers after 0.12 s\n"),
        ("first\n...\nlast\n", "first\na\nb\nlast\n"),
        ('pod "web-0" deleted...\n', 'pod "web-0" deleted\n'),
        ('pod "web-0" deleted...\n', 'pod "web-0" deleted from default namespace\n'),
        ("", ""),
        ("...\n", ""),
        ("10...\n", "10.175.108.10\n"),
        ("web-0  pvc-...  1Gi ...\n", "web-0  pvc-71b75ebf-7754-42fb-ae5f-481513724ac9  1Gi  RWO  12s\n"),
        ("web-0  10.1.2.3  4m\n", "web-0  10.9.9.9  12s\n"),
    ],
)
def test_an_answer_is_as_the_page_says(expected, said):
    assert console.is_answer(expected, said)


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("one\n", "one\ntwo\n"),
        ("one\n", ""),
        ("", "something\n"),
        ("pod/web-0 condition met\n", "pod/web-1 condition met\n"),
        ("a ... (z)\n", "a b z\n"),
    ],
)
def test_another_answer_is_told_apart(expected, said):
    assert not console.is_answer(expected, said)
