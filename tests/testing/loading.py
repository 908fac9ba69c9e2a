"""pytest's `-p tests.testing.loading`: petset's plugin, also where petset was installed before it had any."""

from __future__ import annotations

from petset.testing import plugin


def pytest_addoption(pluginmanager) -> None:
    if not pluginmanager.hasplugin("petset"):
        pluginmanager.register(plugin, "petset")
