// Package tool works on manifests without running them: it compares, merges,
// tabulates and checks them. It reads and writes no files; commands and tests
// hand in values and take values or text.
package tool

import (
	"iter"
	"slices"
	"strings"

	"noether/internal/impact/value"
)

// Node is one component of a manifest's tree.
type Node struct {
	Path []string // names of the children from the root, empty at the root
	Data *value.Object
	Leaf bool
}

// Name returns the node's place as manifests write it: tree.children.shop.
func (n Node) Name() string { return placeOf(n.Path) }

func placeOf(path []string) string {
	if len(path) == 0 {
		return "tree"
	}
	return "tree.children." + strings.Join(path, ".children.")
}

// Walk yields the nodes of a manifest's tree, parents before children, children
// in their order. What is no object is passed over. The paths belong to the caller.
func Walk(manifest value.Value) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		if root := manifest.Object().Get("tree").Object(); root != nil {
			walk(nil, root, yield)
		}
	}
}

func walk(path []string, o *value.Object, yield func(Node) bool) bool {
	children := o.Get("children").Object()
	if !yield(Node{path, o, children == nil}) {
		return false
	}
	if children == nil {
		return true
	}
	for name, child := range children.All() {
		if c := child.Object(); c != nil && !walk(append(slices.Clone(path), name), c, yield) {
			return false
		}
	}
	return true
}
