package tool

import (
	"slices"
	"strings"

	"noether/internal/impact/value"
)

// Coverage says which parameters that plugins read and make are described.
type Coverage struct {
	Plugin  string
	Known   []string
	Missing []string
}

// MetadataCoverage looks at the parameters that the plugins of a manifest name
// in their configuration and says which have an entry under parameter-metadata.
// Only limits it to some plugins; nil is all. Described may know more parameters
// than the manifest, such as those of built-in methods. Without it the parameters
// are those that the Impact Framework's if-metadata-check looks at.
func MetadataCoverage(manifest value.Value, only []string, described func(method string) []string) []Coverage {
	var out []Coverage
	plugins := objectAt(manifest.Object(), "initialize", "plugins")
	for name, p := range plugins.All() {
		if only != nil && !slices.Contains(only, name) {
			continue
		}
		o := p.Object()
		known := map[string]bool{}
		for _, side := range []string{"inputs", "outputs"} {
			for param := range objectAt(o, "parameter-metadata", side).All() {
				known[param] = true
			}
		}
		if described != nil {
			for _, param := range described(o.Get("method").Str()) {
				known[param] = true
			}
		}
		c := Coverage{Plugin: name}
		for _, param := range parameters(o.Get("config").Object(), described == nil) {
			if known[param] {
				c.Known = append(c.Known, param)
			} else {
				c.Missing = append(c.Missing, param)
			}
		}
		out = append(out, c)
	}
	return out
}

// Summary adds up coverages: the share of parameters with metadata in percent
// and the distinct names without, in order. Without parameters the share is 100.
func Summary(list []Coverage) (percent float64, missing []string) {
	known, all := map[string]bool{}, map[string]bool{}
	for _, c := range list {
		for _, p := range c.Known {
			known[p], all[p] = true, true
		}
		for _, p := range c.Missing {
			all[p] = true
		}
	}
	for _, c := range list {
		for _, p := range c.Missing {
			if !known[p] && !slices.Contains(missing, p) {
				missing = append(missing, p)
			}
		}
	}
	if len(all) == 0 {
		return 100, nil
	}
	return 100 * float64(len(all)-len(missing)) / float64(len(all)), missing
}

// parameters returns the parameters that a configuration names, each once,
// outputs first; with few only those under the keys that if-metadata-check knows.
func parameters(config *value.Object, few bool) []string {
	keys := []string{"output-parameter", "output", "to", "input-parameter", "input-parameters", "from", "parameter", "numerator", "denominator", "functional-unit"}
	var out []string
	add := func(v value.Value) {
		if s := v.Str(); s != "" && s != "*" && (few || !strings.ContainsAny(s, "=()")) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if few {
		keys = []string{"input-parameter", "output-parameter", "output", "input-parameters"}
	}
	for _, key := range keys {
		v := config.Get(key)
		add(v)
		for _, item := range v.Items() {
			add(item)
		}
	}
	return out
}
