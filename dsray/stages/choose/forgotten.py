"""Rows that look like one that was forgotten: whoever brings it again, a little changed, brings it to quarantine."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray.stages.choose.state import merged
from dsray.stages.choose.twins import Orientations

U64 = NDArray[np.uint64]

_AT_ONCE = 1 << 22  # comparisons: 32 MB


@dataclass(frozen=True)
class Near:
    """Marks the rows of a state whose signature is within `radius` bits of one that was forgotten."""

    signatures: U64
    radius: int
    orientations: Orientations | None = None

    def __call__(self, state: pa.Table) -> pa.Table:
        signed = state.filter(pc.and_(pc.is_null(state["rule"]), pc.is_valid(state["signature"])))
        signature_N = signed["signature"].to_numpy()
        turned_NT = self.orientations(signature_N) if self.orientations else signature_N[:, None]
        distance_N = np.min([distances(word_N, self.signatures) for word_N in turned_NT.T], axis=0)
        near_N = distance_N <= self.radius
        found = {
            "place": signed["place"].filter(pa.array(near_N)),
            "rule": pa.array(["forgotten"] * int(near_N.sum()), pa.string()),
            "value": pa.array([f"{bits} bits" for bits in distance_N[near_N].tolist()], pa.string()),
            "threshold": pa.array([f"radius {self.radius}"] * int(near_N.sum()), pa.string()),
        }
        return merged(state, pa.table(found))


def distances(signature_N: U64, others_M: U64) -> NDArray[np.uint8]:
    """[N] bits from each signature to the nearest of the others."""
    nearest_N = np.full(len(signature_N), 64, np.uint8)
    rows = max(1, _AT_ONCE // max(1, len(others_M)))
    for at in range(0, len(signature_N), rows):
        apart_BM = np.bitwise_count(signature_N[at : at + rows, None] ^ others_M[None, :])
        nearest_N[at : at + rows] = apart_BM.min(axis=1)
    return nearest_N
