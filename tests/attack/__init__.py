"""Mutated files of every format: what is promised of files that are not trusted."""
