"""A set of Redis pets as redis-py sees it from outside: which pet is the master, and acknowledged writes to it."""

from __future__ import annotations

import redis
import redis.backoff
import redis.retry

from tests.e2e.services import failures

ANSWER_SECONDS_MAX = 2
SENTINEL_PORT = 26379


class Pets:
    """`sentinels`: the name under which the sentinels know the master; empty when nobody is ever elected.

    `replicas_min`: how many replicas must have a write before it counts as acknowledged.
    """

    def __init__(self, cluster, set_name: str, claim: str, sentinels: str = "", replicas_min: int = 0):
        self.names = tuple(f"{set_name}-{ordinal}" for ordinal in range(3))
        self.sentinels = sentinels
        self.replicas_min = replicas_min
        self.service = failures.Service(
            cluster, self.names, claim, "redis-server", self.write, self.read_all, self.in_sync, self.leader
        )
        self.master: redis.Redis | None = None

    def client(self, pet: str, port: int = 6379) -> redis.Redis:
        return redis.Redis(
            host=self.service.address(pet),
            port=port,
            socket_timeout=ANSWER_SECONDS_MAX,
            socket_connect_timeout=ANSWER_SECONDS_MAX,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            decode_responses=True,
        )

    def replication(self, pet: str) -> dict:
        return self.client(pet).info("replication")

    def elected(self, pet: str) -> str:
        """The master by that pet's sentinel."""
        name, _ = self.client(pet, SENTINEL_PORT).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.sentinels)
        return name.partition(".")[0]

    def leader(self) -> str:
        if not self.sentinels:
            return next(pet for pet in self.names if self.replication(pet)["role"] == "master")
        for pet in self.names:
            try:
                return self.elected(pet)
            except (redis.ConnectionError, redis.TimeoutError):
                continue
        raise AssertionError("no sentinel answers")

    def in_sync(self) -> bool:
        found = {pet: self.replication(pet) for pet in self.names}
        masters = [pet for pet in self.names if found[pet]["role"] == "master"]
        following = [
            pet
            for pet in self.names
            if found[pet]["role"] == "slave"
            and found[pet]["master_link_status"] == "up"
            and found[pet]["master_host"].partition(".")[0] in masters
        ]
        agreed = all(self.elected(pet) in masters for pet in self.names) if self.sentinels else True
        return len(masters) == 1 and len(following) == 2 and agreed

    def write(self, number: int) -> None:
        if self.master is None:
            self.master = self.client(self.leader())
        try:
            self.master.sadd("numbers", number)
            if self.replicas_min and self.master.wait(self.replicas_min, 1000) < self.replicas_min:
                raise AssertionError("too few replicas have it")
        except Exception:
            self.master = None  # Ask again who it is.
            raise

    def read_all(self) -> list[int]:
        return [int(number) for number in self.client(self.leader()).smembers("numbers")]
