"""Trainings worth repeating, each a command: ``python -m spikewright.trainer.recipes.NAME``."""
