"""The images of each service are built before its set is started: a fresh machine needs minutes for some.

An image that cannot be built here fails the tests that need it, with the reason.
"""

from __future__ import annotations

import pytest

BUILD_SECONDS_MAX = 900

RECIPES = {
    "test_redis": ("debian", "redis-install"),
    "test_redis_sentinel": ("redis",),
    "test_zookeeper": ("zookeeper",),
    "test_2016_zookeeper": ("java", "zookeeper-install"),
    "test_mysql": ("mariadb-galera",),
    "test_2016_mysql": ("debian", "galera-install", "mariadb-galera"),
    "test_cassandra": ("cassandra",),
    "test_tutorials_on_nodes": ("zookeeper",),
    "test_deploy": ("debian", "nginx", "petset"),
    "test_pages": ("debian", "nginx", "redis-install"),
    "test_without_root": ("debian", "nginx"),  # It builds its own, too.
    "test_tutorials": ("debian", "nginx", "mysql", "xtrabackup", "redis", "guestbook", "cassandra"),
    "test_wheel": ("debian",),  # It builds its own: that they can be had is known before.
}


@pytest.fixture(scope="module", autouse=True)
def service_images(request, make_cluster) -> None:
    recipes = RECIPES[request.module.__name__.rpartition(".")[2]]
    make_cluster().petset("image", "build", *recipes, timeout=BUILD_SECONDS_MAX)
