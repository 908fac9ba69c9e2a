"""Which of CEL's libraries expressions have, and what Kubernetes has wider in the standard one.

`CONFIGURATION` is what the runtime is made from: the libraries by their names, and which functions of the standard one
are left out of its declarations, since they are declared again here with more types. Their implementations stay the
runtime's own, which compare an integer with a double by themselves.
Follows: the base environment of Kubernetes 1.37 (k8s.io/apiserver, pkg/cel/environment).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Overloads = Sequence[tuple[tuple[str, ...], str]]  # Types of parameters, and of the value.

_LIBRARIES = ("strings", "optional", "lists", "two-var-comprehensions", "math", "encoders", "bindings")
NUMBERS = ("INT", "UINT", "DOUBLE")
ORDERED = ("BOOL", "STRING", "BYTES", "TIMESTAMP", "DURATION")
_COMPARED: Overloads = [
    *(((one, other), "BOOL") for one in NUMBERS for other in NUMBERS),
    *(((one, one), "BOOL") for one in ORDERED),
]
WIDENED: Mapping[str, Overloads] = {
    "_<_": _COMPARED,
    "_<=_": _COMPARED,
    "_>_": _COMPARED,
    "_>=_": _COMPARED,
    "string": [((one,), "STRING") for one in (*ORDERED, *NUMBERS)],  # And what cel_functions.py has.
}
CONFIGURATION = "\n".join(
    [
        "stdlib:",
        "  exclude_functions:",
        *(f"  - name: {name}" for name in WIDENED),
        "extensions:",
        *(f"- name: {name}" for name in _LIBRARIES),
    ]
)
