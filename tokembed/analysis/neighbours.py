"""Which words to ask for neighbours, and the table of what they answer."""

from __future__ import annotations

import numpy as np

from tokembed.bpe.splitting import END_OF_WORD
from tokembed.vectors.embeddings import Embeddings

# Of different kinds (beings, feelings, actions, nature, time), asked first where the corpus has them.
QUERY_WORDS = (
    "creature", "father", "miserable", "felt", "mountains", "night", "horror", "life",
    "king", "album", "season", "british", "river", "war", "player", "million",
    "function", "object", "statement", "import", "string", "class", "value", "error",
)  # fmt: skip


def query_words(embeddings: Embeddings, count: int) -> list[str]:
    """Choose words to ask for neighbours: known ones that are well trained, filled up from the corpus' own."""
    counts = embeddings.counts if embeddings.counts is not None else np.ones(len(embeddings), dtype=np.int64)
    words = np.flatnonzero(embeddings.is_word)
    by_count = [embeddings.tokens[row].removesuffix(END_OF_WORD) for row in words[np.argsort(-counts[words], kind="stable")]]
    # Words of middle frequency mean something; the most frequent hundred are grammar.
    middle = set(by_count[50 : max(len(by_count) // 2, 100)])
    chosen = [word for word in QUERY_WORDS if word in middle][:count]
    rest = [word for word in by_count[100::25] if len(word) > 3 and word not in chosen]
    rest += [word for word in by_count if word not in chosen and word not in rest]
    return (chosen + rest)[:count]


def display_token(token: str) -> str:
    """Return a token as people read it: a word as it is, a fragment that goes on with a hyphen.

    >>> display_token("creature</w>"), display_token("creat")
    ('creature', 'creat-')
    """
    return token.removesuffix(END_OF_WORD) if token.endswith(END_OF_WORD) and token != END_OF_WORD else token + "-"


def neighbour_table(embeddings: Embeddings, num_queries: int = 8, topn: int = 5) -> str:
    """Return a text table: a word a line, then the words nearest to it with their cosines."""
    lines = ["", f"nearest neighbours (cosine), among {int(embeddings.is_word.sum()):,} whole words"]
    for word in query_words(embeddings, num_queries):
        found = embeddings.most_similar(word, topn, words_only=True)
        lines.append(f"  {word:<14}" + "  ".join(f"{display_token(token):>12} {score:.2f}" for token, score in found))
    return "\n".join([*lines, ""])
