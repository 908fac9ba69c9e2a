"""The laws draw the same examples in every run and may take as long as the machine does: no run fails by chance.

`pytest --hypothesis-profile=default` draws anew, for somebody who looks for what nobody has met yet.
"""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")
