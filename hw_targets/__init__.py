"""Targets: limits and constants of chips, fit, placement, estimates and the report."""
