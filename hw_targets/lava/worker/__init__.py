"""What runs inside the worker environment: standard library, numpy and Lava; nothing of ours.

Started by `runner` with this folder's parent on the path; a job comes and goes as files.
"""
