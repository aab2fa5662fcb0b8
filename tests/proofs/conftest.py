"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# A shared machine may stall any single example; what is too slow is for the benchmarks to say.
settings.register_profile("proofs", deadline=None)
settings.load_profile("proofs")
