"""The real peers, asked the same question: what they answer is what our code must answer."""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokembed.bpe.splitting import END_OF_WORD

MARKER = "\U0010fffd"  # one high code point in place of `</w>`


def huggingface_merges(word_counts: Mapping[str, int], num_merges: int, min_frequency: int) -> list[tuple[str, str]]:
    """Learn merges by Hugging Face's trainer from words that are already split."""
    alphabet = {character for word in word_counts for character in word} | {MARKER}
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + num_merges, min_frequency=min_frequency, show_progress=False, special_tokens=[]
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="removed")
    lines = (" ".join([word + MARKER] * count) for word, count in word_counts.items())
    tokenizer.train_from_iterator(lines, trainer)
    import json

    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(part.replace(MARKER, END_OF_WORD) for part in merge) for merge in merges]  # type: ignore[misc]
