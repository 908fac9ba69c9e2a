"""A node that is cut off: one nftables table that lets nothing pass between its pods and anybody else.

Its pods reach each other, also by a Service's address, since addresses are translated before this looks. Of this
machine only the node's own agent reaches them, whose address is the gateway's, and has its answers; the API, DNS, the
other nodes' pods and whatever is beyond the machine do not. Packets are dropped, not refused: silence is what a broken
network has to say. Pods in the machine's own network cannot be told from the machine, and are not cut off.
"""

from __future__ import annotations

from petset.base.networks import NodePlan


def table(plan: NodePlan) -> str:
    return f"{plan.table}_cut"


def ruleset(plan: NodePlan) -> str:
    """The whole table."""
    name, mine = table(plan), f'{{ "{plan.veth_prefix}*", "{plan.bridge}" }}'
    return (
        f"add table ip {name}\n"
        f"delete table ip {name}\n"
        f"table ip {name} {{\n"
        "  chain between {\n"
        "    type filter hook forward priority -10; policy accept;\n"
        f"    iifname {mine} ip daddr != {plan.pod_cidr} drop\n"
        f"    oifname {mine} ip saddr != {plan.pod_cidr} drop\n"
        "  }\n"
        "  chain to_the_machine {\n"
        "    type filter hook input priority -10; policy accept;\n"
        f"    iifname {mine} ct direction original drop\n"
        "  }\n"
        "  chain from_the_machine {\n"
        "    type filter hook output priority -10; policy accept;\n"
        f"    oifname {mine} ip saddr != {plan.gateway} drop\n"
        "  }\n"
        "}\n"
    )
