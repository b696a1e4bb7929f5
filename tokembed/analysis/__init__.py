"""What can be said of tokens and vectors: computed here, drawn in `figures`, printed by scripts.

A function that has a figure is called `describe_...` and returns a `Finding`: what to draw, what to print, the table. The pure
functions that it calls return plain values, for use without any figure. Read in this order:

1. `finding.py`: what every `describe_...` returns.
2. `tokenization.py`: how many tokens does a word take, merge by merge, and which tokens come of it?
3. `domains.py`: how does a tokenizer fare on text that it has not seen, and what do more merges gain?
4. `vocabularies.py`: how do the vocabularies of language models cut text, and what does a language cost in them?
5. `neighbours.py`, `geometry.py`: which words lie near a word; how do cosines spread, and are words of a kind more similar?
6. `projection.py`, `clusters.py`: how are a hundred dimensions laid out in two, and which tokens belong together in all?
7. `senses.py`: what can a single vector per word not say?
8. `search.py`: which passages of a text are nearest to a query, by vectors and by words?
9. `experiments.py`, `film.py`: how did training go, where did words move in it, and what do dimension and objective change?
"""
