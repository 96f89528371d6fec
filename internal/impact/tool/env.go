package tool

import (
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Need is what one plugin of a manifest wants from its surroundings.
type Need struct {
	Plugin, Path, Method string
	// Present reports whether this engine has the method.
	Present bool
	Reaches plugin.Reach
	// Remedy says what to use instead of a method that is not there.
	Remedy string
}

// Needs lists what the plugins of a manifest need.
func Needs(manifest value.Value, methods []plugin.Method) []Need {
	var out []Need
	for name, p := range objectAt(manifest.Object(), "initialize", "plugins").All() {
		o := p.Object()
		n := Need{Plugin: name, Path: o.Get("path").Str(), Method: o.Get("method").Str()}
		l := linter{methods: methods}
		if m := l.resolve("", n.Path, n.Method); m != nil {
			n.Present, n.Reaches = true, m.Reaches
		} else if len(l.problems) > 0 {
			n.Remedy = l.problems[0].Text
		}
		out = append(out, n)
	}
	return out
}
