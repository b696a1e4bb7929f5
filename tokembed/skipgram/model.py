"""The skip-gram model, its loss and its step of descent, in torch: what the torch engine trains."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class SkipGramModel(nn.Module):
    """Two tables of vectors: one for tokens as targets, one for tokens as contexts. B pairs, K negatives, D dimensions.

    Parameters
    ----------
    vocab_size, embedding_dim : int
        Both tables are (vocab_size, embedding_dim), float32. Targets start uniform in ±1/(2D), contexts at 0.

    References
    ----------
    Mikolov et al. (2013), Distributed Representations of Words and Phrases and their Compositionality.
    """

    def __init__(self, vocab_size: int, embedding_dim: int) -> None:
        super().__init__()
        if vocab_size < 1 or embedding_dim < 1:
            raise ValueError(f"vocab_size and embedding_dim must be at least 1, not {vocab_size} and {embedding_dim}")
        self.target_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.context_embeddings = nn.Embedding(vocab_size, embedding_dim)
        nn.init.uniform_(self.target_embeddings.weight, -0.5 / embedding_dim, 0.5 / embedding_dim)
        nn.init.zeros_(self.context_embeddings.weight)

    def forward(self, target_ids: Tensor, positive_ids: Tensor, negative_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores u·v of (B,) positives and (B, K) negatives, in those shapes, for (B,) targets."""
        targets = self.target_embeddings(target_ids)  # (B, D)
        positives, negatives = self.context_embeddings(positive_ids), self.context_embeddings(negative_ids)
        return (targets * positives).sum(dim=1), torch.bmm(negatives, targets.unsqueeze(2)).squeeze(2)


class Groups(NamedTuple):
    """N groups of neighbouring positions. Each has T targets, the tokens in and around it, G positives, the tokens at its
    positions, and M negatives that all of its pairs share.

    `weights` say how many terms of the loss a score stands for: a target and a positive are a pair (1) or not (0), and a target
    with n pairs meets each negative n times, less the pairs whose positive the negative is. Where M is more than the K that a
    pair is due, each counts K/M.
    """

    target_ids: Tensor  # (N, T)
    context_ids: Tensor  # (N, G + M): the positives, then the negatives
    weights: Tensor  # (N, T, G + M) float32

    def every(self, first: int, step: int) -> Groups:
        """Return the groups `first`, `first + step`, `first + 2 step`, ..."""
        return Groups(*(tensor[first::step] for tensor in self))


@torch.no_grad()
def descend(model: SkipGramModel, groups: Groups, num_positives: int, learning_rate: float, gap_closed: float = 0.0) -> Tensor:
    """Take one step of gradient descent, in place, on the pairs of N groups; return their summed loss (a tensor: no host sync).

    With a group's rows U (T, D) and V (G + M, D), weights W, and signs y = 1 for positives, -1 for negatives:

        S = y · (U Vᵀ)          loss = -Σ W log σ(S)          E = y · W · (1 - σ(S))          U += η E V,  V += η Eᵀ U

    The gradients are written out, since autograd would fill and walk two dense (V, D) tables per step. A row met several times
    gets the sum, damped if `gap_closed` is not 0 (see `damping`). Only operators that MPS has are used: `index_add_`, no sparse
    tensors.
    """
    target_table, context_table = model.target_embeddings.weight, model.context_embeddings.weight  # (V, D) each
    target_ids, context_ids = groups.target_ids.flatten(), groups.context_ids.flatten()
    targets = target_table.index_select(0, target_ids).view(*groups.target_ids.shape, -1)  # (N, T, D)
    contexts = context_table.index_select(0, context_ids).view(*groups.context_ids.shape, -1)  # (N, G + M, D)

    scores = torch.bmm(targets, contexts.transpose(1, 2))
    scores[:, :, num_positives:].neg_()
    log_likelihoods = functional.logsigmoid(scores)
    loss = -(groups.weights * log_likelihoods).sum()
    errors = torch.expm1(log_likelihoods).mul_(groups.weights).mul_(-learning_rate)  # 1 - σ = -expm1(log σ)
    errors[:, :, num_positives:].neg_()
    target_errors = context_errors = errors
    if gap_closed:
        target_damping = damping(target_ids, groups.weights.sum(dim=2).flatten(), len(target_table), gap_closed)
        context_damping = damping(context_ids, groups.weights.sum(dim=1).flatten(), len(context_table), gap_closed)
        target_errors = errors * target_damping.view(*groups.target_ids.shape, 1)
        context_errors = errors * context_damping.view(len(errors), 1, -1)
    target_steps = torch.bmm(target_errors, contexts)
    context_steps = torch.bmm(context_errors.transpose(1, 2), targets)
    target_table.index_add_(0, target_ids, target_steps.flatten(0, 1))
    context_table.index_add_(0, context_ids, context_steps.flatten(0, 1))
    return loss


def damping(ids: Tensor, num_terms: Tensor, vocab_size: int, gap_closed: float) -> Tensor:
    """Return by how much the summed steps of a batch are too long for the row of each id, as a factor, (len(ids),).

    All n terms of a batch that move a row are computed from the same vector. One after the other, each closing a share s
    of the gap to where the row settles, they would close 1 - (1 - s)^n ≈ 1 - e^(-ns) of it; their sum closes ns, for frequent
    tokens and large batches more than all of it, and training diverges. The factor is (1 - e^(-ns)) / (ns), s = `gap_closed`,
    and an id's n is the sum of its `num_terms`.

    >>> damping(torch.tensor([0, 0, 1]), torch.ones(3), 3, 0.5).numpy().round(2).tolist()
    [0.6299999952316284, 0.6299999952316284, 0.7900000214576721]
    """
    totals = torch.zeros(vocab_size, dtype=num_terms.dtype, device=ids.device).index_add_(0, ids, num_terms)
    x = (gap_closed * totals.index_select(0, ids)).clamp(min=1e-6)
    return -torch.expm1(-x) / x
