"""What all tests share: how hard hypothesis tries."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

# `make test` draws the same sample every time; `make sweep` looks further.
settings.register_profile("test", deadline=None, derandomize=True, suppress_health_check=_CALM, print_blob=True)
settings.register_profile("sweep", parent=settings.get_profile("test"), derandomize=False, max_examples=1000)
settings.load_profile("test")
