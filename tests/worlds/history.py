"""The story of a seed: a scenario is created, a monkey plays in bad weather, and then all must come to rest.

`run(seed)` builds a scenario out of the seed (which sets, how many nodes, which weather), lets the monkey play, ends
the faults, waits until everything is as the specs say, and watches that it stays so. It raises `laws.Broken` with the
last lines of the trace and the command that replays the seed.
"""

from __future__ import annotations

import random

from petset.world import faults, monkeys, world
from petset.world.process import persistently
from tests.worlds import scenario


def run(seed: int) -> world.World:
    """The seed's world from its beginning to its end."""
    plan = scenario_of(seed)

    async def story(world: world.World) -> None:
        await play(world, plan)

    about = (f"scenario: {plan.told()}", f"replay it: python -m tests.worlds {seed}")
    return world.run(world.Config(seed, nodes=plan.nodes, scripted=not plan.real_agents), story, about)


def scenario_of(seed: int) -> scenario.Plan:
    return scenario.of(random.Random(f"{seed} scenario"))


async def play(world: world.World, plan: scenario.Plan) -> None:
    for obj in plan.objects:
        await persistently(lambda obj=obj: world.admin.create(obj))
    monkey = monkeys.Monkey(world)
    world.faults, world.laws.weather_seconds = plan.weather, plan.weather.stale_seconds
    await monkey.play(plan.monkey_steps)
    world.faults = faults.Faults.none()
    for node in world.nodes:
        node.calm()
    await monkey.goes_home()
    world.laws.weather_seconds = 0.0
    world.laws.note("CALM")
    await world.settles()
    if not world.laws.broken:
        await world.stays_settled()
