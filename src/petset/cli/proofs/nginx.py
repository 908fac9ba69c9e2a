"""The documentation's web set: a page by a pet's name, kept on its volume."""

from __future__ import annotations

from petset.cli.proofs import stage as stages
from petset.kinds.pet_set import PETSETS


async def prove(stage: stages.Stage) -> None:
    page = "/usr/share/nginx/html/index.html"
    await stage.run("web-0", "nginx", "sh", "-c", f"echo 'the page of web-0' > {page}")
    ask = "exec 3<>/dev/tcp/web-0.nginx/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    if "the page of web-0" not in await stage.run("web-1", "nginx", "bash", "-c", ask):
        raise stages.Unproven("web-1 does not get web-0's page")
    stage.says("web-1 reads the page of web-0 by its name, web-0.nginx")
    volume = await stage.volume("www-web-0")
    before, after = await stage.replace("web-0")
    stage.came_back(before, after, volume, await stage.volume("www-web-0"))
    if "the page of web-0" not in await stage.run("web-1", "nginx", "bash", "-c", ask):
        raise stages.Unproven("the page is gone")
    stage.says("the new web-0 serves the page of the old one")


EXAMPLE = stages.Example(
    folder="nginx",
    set_name="web",
    resource=PETSETS,
    recipes=("debian", "nginx"),
    proof=prove,
    try_this=(
        "kubectl get petset,pods,pvc",
        "kubectl exec web-1 -- getent hosts web-0.nginx",
        "kubectl scale petset web --replicas=3",
    ),
)
