package impact

import (
	"slices"

	"noether/internal/impact/value"
)

// moved tells what became of keys of older manifests.
func moved(key string) string {
	switch key {
	case "params":
		return ": parameters are described by the parameter-metadata of each plugin"
	case "outputs":
		return ": the output goes where -o says"
	case "global-config":
		return ": config is given too and holds"
	}
	return ""
}

// mendKeys reports keys of a manifest that nothing reads, and returns the
// manifest with global-config of plugins, as older manifests have it, read as
// config. It does not change raw.
func mendKeys(raw *value.Object, o *Options) *value.Object {
	k := keys{o.Env.Warn, []string{"children", "inputs", "outputs", "defaults", "config", "pipeline", "aggregated", periodKey}}
	k.check("", raw, "name", "description", "tags", "disclosure", "explainer", "explain", "aggregation", "initialize", "execution", "tree")
	k.check("tags", raw.Get("tags").Object(), "kind", "complexity", "category")
	k.check("aggregation", raw.Get("aggregation").Object(), "metrics", "type", "skip-components")
	initialize := raw.Get("initialize").Object()
	k.check("initialize", initialize, "plugins")
	plugins := initialize.Get("plugins").Object()
	mended := plugins
	for name, entry := range plugins.All() {
		path := "initialize.plugins." + name
		e := entry.Object()
		if old := e.Get("global-config"); old.Kind() != value.Undefined && e.Get("config").IsNullish() {
			if mended == plugins {
				mended = plugins.Copy(0)
			}
			e = e.Copy(1)
			e.Set("config", old)
			e.Delete("global-config")
			mended.Set(name, e.Value())
			k.warn("%s.global-config: read as config, its present name", path)
		}
		k.check(path, e, "path", "method", "mapping", "config", "parameter-metadata")
		k.check(path+".parameter-metadata", e.Get("parameter-metadata").Object(), "inputs", "outputs")
	}
	k.tree("tree", raw.Get("tree").Object(), map[string]bool{})
	if mended == plugins {
		return raw
	}
	out, init := raw.Copy(0), initialize.Copy(0)
	init.Set("plugins", mended.Value())
	out.Set("initialize", init.Value())
	return out
}

// keys looks for keys that nothing reads.
type keys struct {
	warn func(format string, args ...any)
	node []string // what components may have
}

func (k keys) check(path string, o *value.Object, known ...string) {
	if path != "" {
		path += "."
	}
	for key := range o.All() {
		if !slices.Contains(known, key) {
			k.unknown(path, key, known)
		}
	}
}

func (k keys) unknown(path, key string, known []string) {
	why := moved(key)
	if why == "" {
		why = suggestion(key, known)
	}
	k.warn("%s%s: nothing reads this key%s", path, key, why)
}

// tree reports unknown keys of components, each name once.
func (k keys) tree(path string, n *value.Object, seen map[string]bool) {
	for key := range n.All() {
		if !slices.Contains(k.node, key) && !seen[key] {
			seen[key] = true
			k.unknown(path+".", key, k.node)
		}
	}
	children := n.Get("children").Object()
	if inputs := n.Get("inputs"); children != nil && inputs.Truthy() {
		k.warn("%s.inputs: a component with children has no inputs of its own: nothing reads them", path)
	}
	for name, child := range children.All() {
		k.tree(path+".children."+name, child.Object(), seen)
	}
}
