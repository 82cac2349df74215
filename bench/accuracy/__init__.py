"""How well a model finds what words name, on pictures whose truth is known.

The published protocol: a query names a thing that the picture shows; it is found when any predicted box overlaps any
true box of that noun by more than 0.5 (GT-known). Boxes are half-open, in the picture's own pixels. Every switch is
chosen on the `val` pictures alone; all other pictures only report.

`bench.accuracy.frontier` says what every preset and precision costs, `bench.accuracy.parity` how close a bundle is to the oracle.
"""
