"""The trainer: dual-path pretraining without labels, probes, models by name, checkpoints.

Importing this package, or `trainer.data`, does not import torch; every other module here does.
"""
