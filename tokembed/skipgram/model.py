"""The skip-gram model, its loss and its step of descent, in torch: what the torch engine trains."""

from __future__ import annotations

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
        return scores_of(*self.rows(target_ids, positive_ids, negative_ids))

    def rows(self, target_ids: Tensor, positive_ids: Tensor, negative_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vectors of B targets, their positives and their negatives: (B, D), (B, D), (B, K, D)."""
        return (
            self.target_embeddings(target_ids),
            self.context_embeddings(positive_ids),
            self.context_embeddings(negative_ids),
        )


def scores_of(targets: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Return u·v of each pair, (B,), and of each target with its negatives, (B, K)."""
    return (targets * positives).sum(dim=1), torch.bmm(negatives, targets.unsqueeze(2)).squeeze(2)


def negative_sampling_loss(positive_scores: Tensor, negative_scores: Tensor, is_negative: Tensor | None = None) -> Tensor:
    """Return the summed loss of B pairs, -log σ(u·v) - Σ_k log σ(-u·v_k), computed without overflow.

    Parameters
    ----------
    positive_scores, negative_scores : Tensor (B,), (B, K)
    is_negative : Tensor (B, K) of bool, optional
        False where a drawn negative equals the pair's positive, which leaves it out.
    """
    negative_terms = functional.logsigmoid(-negative_scores)
    if is_negative is not None:
        negative_terms = negative_terms * is_negative
    return -(functional.logsigmoid(positive_scores).sum() + negative_terms.sum())


@torch.no_grad()
def descend(
    model: SkipGramModel,
    target_ids: Tensor,
    positive_ids: Tensor,
    negative_ids: Tensor,
    learning_rate: float,
    gap_closed: float = 0.0,
) -> Tensor:
    """Take one step of gradient descent on B pairs, in place, and return their summed loss (a tensor: no host sync).

    The gradients are written out, since autograd would fill and walk two dense (V, D) tables per step:

        ∂/∂u = -(1 - σ(u·v)) v + Σ_k σ(u·v_k) v_k
        ∂/∂v = -(1 - σ(u·v)) u,      ∂/∂v_k = σ(u·v_k) u

    A row met several times in a batch gets the sum, damped if `gap_closed` is not 0 (see `damping`). Only operators that
    MPS has are used: `index_add_`, no sparse tensors.
    """
    target_table, context_table = model.target_embeddings.weight, model.context_embeddings.weight  # (V, D) each
    targets, positives, negatives = model.rows(target_ids, positive_ids, negative_ids)
    positive_scores, negative_scores = scores_of(targets, positives, negatives)
    is_negative = negative_ids != positive_ids.unsqueeze(1)

    positive_steps = learning_rate * torch.sigmoid(-positive_scores)  # (B,)
    negative_steps = -learning_rate * torch.sigmoid(negative_scores) * is_negative  # (B, K)
    target_steps = positive_steps.unsqueeze(1) * positives + torch.bmm(negative_steps.unsqueeze(1), negatives).squeeze(1)
    if gap_closed:
        target_damping = damping(target_ids, len(target_table), gap_closed * (1 + negative_ids.shape[1]))
        context_damping = damping(torch.cat([positive_ids, negative_ids.flatten()]), len(context_table), gap_closed)
        target_steps = target_steps * target_damping[target_ids].unsqueeze(1)
        positive_steps = positive_steps * context_damping[positive_ids]
        negative_steps = negative_steps * context_damping[negative_ids]
    context_table.index_add_(0, positive_ids, positive_steps.unsqueeze(1) * targets)
    context_table.index_add_(0, negative_ids.flatten(), (negative_steps.unsqueeze(2) * targets.unsqueeze(1)).flatten(0, 1))
    target_table.index_add_(0, target_ids, target_steps)
    return negative_sampling_loss(positive_scores, negative_scores, is_negative)


def damping(ids: Tensor, vocab_size: int, gap_closed: float) -> Tensor:
    """Return by how much the summed steps of a batch are too long for each row, as a factor, (V,).

    All n terms of a batch that move a row are computed from the same vector. One after the other, each closing a share s
    of the gap to where the row settles, they would close 1 - (1 - s)^n ≈ 1 - e^(-ns) of it; their sum closes ns, for frequent
    tokens and large batches more than all of it, and training diverges. The factor is (1 - e^(-ns)) / (ns), s = `gap_closed`.

    >>> damping(torch.tensor([0, 0, 1]), 3, 0.5).numpy().round(2).tolist()
    [0.6299999952316284, 0.7900000214576721, 1.0]
    """
    num_terms = torch.zeros(vocab_size, device=ids.device).index_add_(0, ids, torch.ones(len(ids), device=ids.device))
    x = (gap_closed * num_terms).clamp(min=1e-6)
    return -torch.expm1(-x) / x
