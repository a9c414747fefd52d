"""Merkle trees: the known answers of Certificate Transparency, and every proof of every small tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.trust.merkle import (
    consistency,
    inclusion,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
"""The leaves of Certificate Transparency's own tests (google/certificate-transparency-go, merkle tree tests)."""
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCIES = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
KNOWN = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(bytes([n])) for n in range(count)]


def defined(tree: list[bytes]) -> bytes:
    """MTH, word for word from RFC 6962 §2.1."""
    if not tree:
        return hashlib.sha256().digest()
    if len(tree) == 1:
        return tree[0]
    k = 1
    while k * 2 < len(tree):
        k *= 2
    return node_hash(defined(tree[:k]), defined(tree[k:]))


def test_roots_are_those_of_certificate_transparency() -> None:
    assert [root(KNOWN[:size]).hex() for size in range(9)] == ROOTS


@pytest.mark.parametrize(("index", "size"), INCLUSIONS)
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int) -> None:
    proof = inclusion(KNOWN[:size], index)
    assert [node.hex() for node in proof] == INCLUSIONS[index, size]
    assert verify_inclusion(KNOWN[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("earlier", "size"), CONSISTENCIES)
def test_consistency_proofs_are_those_of_certificate_transparency(earlier: int, size: int) -> None:
    proof = consistency(KNOWN[:size], earlier)
    assert [node.hex() for node in proof] == CONSISTENCIES[earlier, size]
    assert verify_consistency(earlier, size, proof, bytes.fromhex(ROOTS[earlier]), bytes.fromhex(ROOTS[size]))


def test_every_proof_of_every_small_tree_verifies_and_none_for_another_place() -> None:
    for size in range(1, 34):
        tree = leaves(size)
        whole = root(tree)
        assert whole == defined(tree)
        for index in range(size):
            proof = inclusion(tree, index)
            fits = [at for at in range(size) if verify_inclusion(tree[index], at, size, proof, whole)]
            assert fits == [index]
        for earlier in range(size + 1):
            assert verify_consistency(earlier, size, consistency(tree, earlier), root(tree[:earlier]), whole)


@given(st.integers(1, 70), st.data())
def test_a_proof_with_anything_changed_is_refused(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    whole, index = root(tree), data.draw(st.integers(0, size - 1))
    proof = inclusion(tree, index)
    other = data.draw(st.binary(min_size=32, max_size=32))
    assert not verify_inclusion(other, index, size, proof, whole)
    assert not verify_inclusion(tree[index], index, size, proof, other)
    assert not verify_inclusion(tree[index], index, size, [*proof, other], whole)
    assert not verify_inclusion(tree[index], size, size, proof, whole)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_inclusion(tree[index], index, size, [*proof[:at], other, *proof[at + 1 :]], whole)
        assert not verify_inclusion(tree[index], index, size, proof[:-1], whole)


@given(st.integers(2, 70), st.data())
def test_a_tree_that_was_rewritten_is_not_consistent(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    earlier = data.draw(st.integers(1, size - 1))
    forged = tree.copy()
    forged[data.draw(st.integers(0, earlier - 1))] = leaf_hash(b"another")
    proof = consistency(forged, earlier)
    assert not verify_consistency(earlier, size, proof, root(tree[:earlier]), root(forged))
    assert not verify_consistency(earlier, size, proof[:-1], root(forged[:earlier]), root(forged))
    assert not verify_consistency(earlier, size, [*proof, proof[0]], root(forged[:earlier]), root(forged))
    assert not verify_consistency(size + 1, size, proof, root(forged), root(forged))


def test_what_a_tree_never_had_has_no_proof() -> None:
    with pytest.raises(IndexError, match="no leaf 3"):
        inclusion(leaves(3), 3)
    with pytest.raises(IndexError, match="never had 4"):
        consistency(leaves(3), 4)
