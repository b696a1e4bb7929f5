"""Data in, one picture out: `plot_x(data, *, ax=None) -> Axes` draws, `canvas.save` writes PNG and CSV.

Nothing is computed or printed here. Read `canvas.py` first: the palette, fonts that never show an empty box, axes, and saving.
Each other module draws what was computed elsewhere: `tokenization.py` (merges, kinds of text), `geometry.py` (cosines,
neighbours, projections, senses), `training.py` (epochs, dimensions, objectives), `benchmarks.py` (speed), and `moving.py` the
one picture that moves.
"""
