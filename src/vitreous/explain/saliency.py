"""Why this class: relevance, the attention that raised the class's score.

"Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers"
(arXiv:2103.15679), eq. 5 and 6: R starts as the identity, and in each layer R <- R + mean_h((grad * A)^+) R.
Of R only the row that the answer is read from is wanted, so it is followed from the last layer to the
first as one vector, and R itself is never built.

Shapes: B pictures; N tokens, P = rows * cols patches; K classes.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vitreous.explain.attention import carry, on_grid, pool_of, start
from vitreous.explain.recording import Record, Recorded, gradients_on, recording


def relevance(model: nn.Module, images: Tensor, index: int | Tensor) -> Tensor:
    """(B, C, H, W) -> (B, rows, cols): relevance of each patch for class ``index``, one or (B,) of them.

    Relevance is zero or more, in units of the logit's gradient. One forward and one backward pass. It
    works inside ``torch.inference_mode`` and on frozen models, and leaves no gradient in the model.
    """
    pool = pool_of(model)  # a model that cannot be explained is refused before it runs
    with gradients_on(), recording(model, gradients=True) as record:
        logits = model(images.clone()).logits  # (B, K)
        chosen = torch.as_tensor(index, device=logits.device).expand(len(logits))
        # Pictures do not know one another: the sum's gradient is each one's own.
        score = logits.gather(1, chosen[:, None]).sum()
        gradients = record.output_gradients(score)
    return follow(record, gradients, pool)


def relevance_by_class(model: nn.Module, image: Tensor, indices: Sequence[int]) -> Tensor:
    """One picture (1, C, H, W), M classes -> (M, rows, cols), from one forward and M backward passes."""
    pool = pool_of(model)
    with gradients_on(), recording(model, gradients=True) as record:
        logits = model(image.clone()).logits[0]  # (K,)
        maps = []
        for index in indices:
            gradients = record.output_gradients(logits[index], keep_graph=True)
            maps.append(follow(record, gradients, pool))
    return torch.cat(maps)


def follow(record: Record, gradients: Sequence[Tensor], pool: str) -> Tensor:
    """Gradients of a score with respect to each attention's output -> its relevance (B, rows, cols)."""
    with torch.no_grad():
        origin = flow = start(record, pool)  # (B, N)
        for recorded, gradient in zip(reversed(record.layers), reversed(gradients), strict=True):
            flow = flow + carry(flow, partial(_raised, recorded, gradient))
        # What the identity put there is no finding: with mean pooling it is the same for every patch.
        return on_grid(flow - origin, record.layout)


def _raised(recorded: Recorded, gradient: Tensor, rows: slice) -> Tensor:
    """(grad * A)^+ of some rows, (B, heads, M, N): the attention that spoke for the score."""
    return (recorded.weights_gradient(gradient, rows) * recorded.weights(rows)).clamp(min=0)
