"""Merkle trees as in RFC 6962 §2.1: roots, inclusion and consistency proofs, and their verification (RFC 9162 §2.1).

Trees are given as the list of their leaves' hashes, in order, or, where they are long, by a function that knows the
hash over any range of leaves; a proof is a list of hashes, the deepest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

HASH_BYTES = 32

RangeHash = Callable[[int, int], bytes]
"""The hash of the tree over the leaves from the first index up to, without, the second."""


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree's hash; that of no leaf is the hash of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    # The last node of a level without a neighbour goes up as it is: the same as splitting at powers of two.
    level = list(leaves)
    while len(level) > 1:
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of one leaf; IndexError when there is none at `index`."""
    return inclusion_by(lambda low, high: root(leaves[low:high]), len(leaves), index)


def consistency(leaves: Sequence[bytes], earlier: int) -> list[bytes]:
    """Proof that the tree of the first `earlier` leaves is the beginning of this one; IndexError for a size that this
    tree never had."""
    return consistency_by(lambda low, high: root(leaves[low:high]), len(leaves), earlier)


def inclusion_by(hash_of: RangeHash, size: int, index: int) -> list[bytes]:
    """As `inclusion`, of a tree of `size` leaves."""
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + split(high - low)
        if index < middle:
            path.append(hash_of(middle, high))
            high = middle
        else:
            path.append(hash_of(low, middle))
            low = middle
    return path[::-1]


def consistency_by(hash_of: RangeHash, size: int, earlier: int) -> list[bytes]:
    """As `consistency`, for a tree of `size` leaves."""
    if not 0 <= earlier <= size:
        raise IndexError(f"a tree of {size} leaves never had {earlier}")
    if earlier in (0, size):
        return []
    path: list[bytes] = []
    low, high = 0, size
    while earlier != high:
        middle = low + split(high - low)
        if earlier <= middle:
            path.append(hash_of(middle, high))
            high = middle
        else:
            path.append(hash_of(low, middle))
            low = middle
    # The old tree's own hash is left out where it is one whole subtree: who asks for the proof has it.
    return [*([hash_of(low, high)] if low else []), *path[::-1]]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> bool:
    """Whether a leaf's hash is at `index` of the tree of `size` leaves with this root (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == tree_root


def verify_consistency(earlier: int, size: int, proof: Sequence[bytes], earlier_root: bytes, tree_root: bytes) -> bool:
    """Whether the tree of `size` leaves goes on from that of `earlier` leaves (RFC 9162 §2.1.4.2)."""
    if not 0 <= earlier <= size:
        return False
    if earlier == 0:
        return not proof and earlier_root == root([])
    if earlier == size:
        return not proof and earlier_root == tree_root
    path = list(proof)
    if earlier & (earlier - 1) == 0:
        path.insert(0, earlier_root)
    if not path:
        return False
    node, last = earlier - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == earlier_root and new == tree_root


class Frontier:
    """A tree that grows at its end: of the leaves before, only the hashes at its right edge are kept (at most 64)."""

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        """`edge`: the hashes of the whole subtrees that `size` falls into, the largest first."""
        if len(edge) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} hashes at its edge, not {len(edge)}")
        self.size = size
        self._edge = list(edge)

    def add(self, leaf: bytes) -> list[bytes]:
        """One more leaf; the hashes that this makes final: its own, then those of the subtrees that it fills."""
        final = [leaf]
        for _ in range(trailing_ones(self.size)):
            final.append(node_hash(self._edge.pop(), final[-1]))
        self._edge.append(final[-1])
        self.size += 1
        return final

    def root(self) -> bytes:
        if not self._edge:
            return root([])
        found = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            found = node_hash(left, found)
        return found


def split(count: int) -> int:
    """Where a tree of `count` > 1 leaves is divided: the largest power of two below."""
    return 1 << (count - 1).bit_length() - 1


def trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1
