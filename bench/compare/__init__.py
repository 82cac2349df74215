"""How fast a picture is localized: ours beside the published way, PyTorch at its best, and the packages of the field.

Every contender lives in a process of its own and waits; one at a time is asked for a turn, round after round, so that a
machine that grows warm or busy disturbs all alike. What a contender computes is checked before its clock first runs.
"""
