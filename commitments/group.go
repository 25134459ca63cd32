package commitments

import (
	"bytes"
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// MaxBranch bounds the branch of a proxy signature: groups of 2^16 commitments.
const MaxBranch = 16

// groupNode keeps the nodes of a group apart from commitments and from every
// other message: "group". [contracts: SigningRoot.GROUP]
const groupNode = 0x67726f7570

// GroupRoot returns the root of the group that a branch leads a leaf to: each
// node is keccak256(abi(uint256 "group", smaller, larger)). An empty branch
// leaves the leaf. [contracts: SigningRoot.ofGroup]
func GroupRoot(leaf phase0.Root, branch []phase0.Root) phase0.Root {
	node := leaf
	for _, sibling := range branch {
		node = groupPair(node, sibling)
	}
	return node
}

// Group returns the root of a group of leaves, in their order, and the branch of
// each: neighbours are paired from the left, level by level, and one without a
// neighbour rises as it is. A group of one is its leaf, with an empty branch.
// There must be a leaf, and at most 2^MaxBranch.
func Group(leaves []phase0.Root) (root phase0.Root, branches [][]phase0.Root) {
	branches = make([][]phase0.Root, len(leaves))
	level := append([]phase0.Root(nil), leaves...)
	for height := 0; len(level) > 1; height++ {
		for i := range leaves {
			if beside := i>>height ^ 1; beside < len(level) {
				branches[i] = append(branches[i], level[beside])
			}
		}
		for i := 0; i < len(level); i += 2 {
			level[i/2] = level[i]
			if i+1 < len(level) {
				level[i/2] = groupPair(level[i], level[i+1])
			}
		}
		level = level[:(len(level)+1)/2]
	}
	return level[0], branches
}

func groupPair(a, b phase0.Root) phase0.Root {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	var words [96]byte
	binary.BigEndian.PutUint64(words[24:], groupNode)
	copy(words[32:], a[:])
	copy(words[64:], b[:])
	return keccak(words[:])
}
