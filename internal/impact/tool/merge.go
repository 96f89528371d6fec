package tool

import (
	"path/filepath"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/value"
)

// Source is one manifest that was read from a file.
type Source struct {
	File     string // as the user named it
	Manifest value.Value
}

// MergeOptions names the merged manifest.
type MergeOptions struct {
	Name, Description string
	// Reference merges as the Impact Framework's if-merge does: of two plugins of
	// one name the last stays and nobody is told; what a file says about
	// aggregation is dropped, and so are pipelines above its children.
	Reference bool
}

// Merge returns one manifest with the children of all: a child c of the file
// dir/m.yml becomes c-dir-m. Two plugins of one name that are not the same are
// a ManifestValidationError, except as the reference has it.
func Merge(sources []Source, o MergeOptions) (value.Value, error) {
	plugins, children := value.NewObject(4), value.NewObject(len(sources))
	var aggregation value.Value
	from := map[string]string{}
	for _, s := range sources {
		m := s.Manifest.Object()
		if m == nil {
			return value.Value{}, fault.New(fault.ManifestValidation, "%s: a manifest is a map with the keys name, initialize and tree", s.File)
		}
		for name, p := range objectAt(m, "initialize", "plugins").All() {
			if !o.Reference && plugins.Has(name) && !value.Equal(plugins.Get(name), p) {
				return value.Value{}, fault.New(fault.ManifestValidation, "plugin `%s` is not the same in %s and %s: rename it in one of them", name, from[name], s.File)
			}
			plugins.Set(name, p)
			from[name] = s.File
		}
		if a := m.Get("aggregation"); !o.Reference && !a.IsNullish() {
			if !aggregation.IsNullish() && !value.Equal(aggregation, a) {
				return value.Value{}, fault.New(fault.ManifestValidation, "aggregation is not the same in all manifests, %s differs: make them agree", s.File)
			}
			aggregation = a
		}
		tree := m.Get("tree").Object()
		kids := tree.Get("children").Object()
		if kids == nil {
			return value.Value{}, fault.New(fault.ManifestValidation, "%s: tree has no children to merge", s.File)
		}
		suffix := "-" + parent(s.File) + "-" + strings.TrimSuffix(filepath.Base(s.File), filepath.Ext(s.File))
		for name, child := range kids.All() {
			if children.Has(name + suffix) {
				return value.Value{}, fault.New(fault.ManifestValidation, "%s: a component %s exists already: two files have the same directory and name", s.File, name+suffix)
			}
			if !o.Reference {
				child = inherit(tree, child)
			}
			children.Set(name+suffix, child)
		}
	}
	return merged(o, plugins, aggregation, children), nil
}

func merged(o MergeOptions, plugins *value.Object, aggregation value.Value, children *value.Object) value.Value {
	out, initialize, tree := value.NewObject(6), value.NewObject(1), value.NewObject(1)
	initialize.Set("plugins", plugins.Value())
	tree.Set("children", children.Value())
	name, description := o.Name, o.Description
	if name == "" {
		name = "if-merge"
	}
	if description == "" {
		description = "merged manifest"
	}
	out.Set("name", value.Text(name))
	out.Set("description", value.Text(description))
	out.Set("tags", value.NewObject(0).Value())
	if !aggregation.IsNullish() {
		out.Set("aggregation", aggregation)
	}
	out.Set("initialize", initialize.Value())
	out.Set("tree", tree.Value())
	return out.Value()
}

// inherit gives a child what it inherited from the root of its own manifest.
func inherit(tree *value.Object, child value.Value) value.Value {
	from := child.Object()
	if from == nil {
		return child
	}
	out := value.NewObject(from.Len() + 3)
	for _, key := range []string{"pipeline", "config", "defaults"} {
		if v := tree.Get(key); v.Truthy() && !from.Get(key).Truthy() {
			out.Set(key, v)
		}
	}
	for k, v := range from.All() {
		out.Set(k, v)
	}
	return out.Value()
}

// parent returns the name of the directory that a file is in.
func parent(file string) string {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return filepath.Base(filepath.Dir(file))
	}
	return filepath.Base(dir)
}

// objectAt returns the object under keys, empty if there is none.
func objectAt(o *value.Object, keys ...string) *value.Object {
	for _, k := range keys {
		o = o.Get(k).Object()
	}
	if o == nil {
		return value.NewObject(0)
	}
	return o
}
