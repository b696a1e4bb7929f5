"""Pages for a browser, each one file that asks nothing of a network.

Read `token_view.py` with its `.html` (a text's tokens in colour, for the terminal too), `report.py` with its `.html` and
`.toml` (all figures with their tables, and what to look for in each), and `explorer.py` with `explorer_parts/` (undo merges,
walk the map, ask for neighbours); what the explorer shows beside a corpus' own tokens is collected in `educations.py`.
"""
