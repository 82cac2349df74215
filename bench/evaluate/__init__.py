"""Every protocol of the field, once: any data set, any model, method and preset, or maps that others made.

`python -m bench.evaluate world --model demo-rn --out out/world`. One line per picture is appended to a file of records, so
that a run that was killed goes on where it was, and several processes may share one; every figure is made of the records.
"""
