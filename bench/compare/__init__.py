"""How fast a picture is localized: ours beside the published way, PyTorch at its best, and the packages of the field.

Every way lives in a process of its own and waits; one at a time is asked for a turn, round after round, so that a
machine that grows warm or busy disturbs all ways alike. What a way computes is checked before its clock first runs.
"""
