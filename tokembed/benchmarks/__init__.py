"""What is measured, beside which peers, and the tables of the pages that are made from it.

Read `timing.py` (how contenders are timed in turn) and `peers.py` (who they are), then what is timed: `ladder.py` (the steps
from the naive encoder to the fast one), `encoding.py`, `matrix.py` and `large_texts.py` (by kind of text), `training.py`,
`scaling.py`, `processes.py`. `facts.py` measures what no benchmark has; `results.py` makes the tables, and `claims.py` with
`claims.toml` sets what was claimed beside what was measured.
"""
