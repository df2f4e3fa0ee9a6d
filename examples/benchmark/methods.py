"""The methods by their names, in the order of the table."""

from __future__ import annotations

from adversarial import adversarial
from bar import bar
from joint import joint, local_alone
from map_methods import map_frequency, plain_views
from ours import at_queries
from reference_methods import linear_head, no_source
from task import Method
from zeroth_order import zeroth_order

METHODS: dict[str, Method] = {
    "no_source": no_source,
    "linear_head": linear_head,
    "map_frequency": map_frequency,
    "map_dense": plain_views(1),
    "ours_1": at_queries(1),
    "joint_1": joint(1),
    "ours_8_to_1": at_queries(8, 1),
    "views_8": plain_views(8),
    "ours_8": at_queries(8),
    "joint_8": joint(8),
    "local": local_alone,
    "all_8": joint(8, with_local=True),
    "views_32": plain_views(32),
    "ours_32": at_queries(32),
    "zeroth_order": zeroth_order,
    "bar_random": bar("random"),
    "bar_frequency": bar("frequency"),
    "ar_random": adversarial("random"),
    "ar_frequency": adversarial("frequency"),
}
# Asked for by name only: what the recipe's views and steps add to the exact map, and what a network
# on this machine adds, alone and beside the source.
ON_REQUEST = ("views_8", "views_32", "local", "all_8")
USUAL_METHODS = tuple(name for name in METHODS if name not in ON_REQUEST)
# These give each class source labels of its own: not possible with fewer labels than classes.
NEEDS_ENOUGH_LABELS = ("map_frequency", "bar_random", "bar_frequency", "ar_random", "ar_frequency")
WITHOUT_SOURCE = ("no_source", "local")
