"""Lava, Intel's Loihi software: a worker environment of its own, and an executor that uses it."""
