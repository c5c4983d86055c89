"""Several linear layers that look at the same input, as one product, or two where some must stay exact."""

from __future__ import annotations

from collections.abc import Sequence

from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Dialect
from lineside.engines.graph.matrix import Matrix, stack


def project(
    g: GraphBuilder, dialect: Dialect, x: str, parts: Sequence[Matrix], exact: Sequence[Matrix] = ()
) -> tuple[str, ...]:
    """x by each of `parts` and then each of `exact`, which stay float32 whatever the others become.

    On small models and in decoding calls cost more than arithmetic: hence one product.
    """
    if exact and dialect.rounds_weights:
        return (
            *_product(g, dialect, x, parts, "in_proj", exact=False),
            *_product(g, dialect, x, exact, "in_proj_exact", exact=True),
        )
    return _product(g, dialect, x, (*parts, *exact), "in_proj", exact=False)


def _product(
    g: GraphBuilder, dialect: Dialect, x: str, parts: Sequence[Matrix], name: str, *, exact: bool
) -> tuple[str, ...]:
    y = dialect.matmul(g, x, stack(*parts), name, exact=exact)
    return g.split(y, *(part.shape[0] for part in parts)) if len(parts) > 1 else (y,)
