package tool

import (
	"slices"
	"strings"

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

// Package returns the package.json that the Impact Framework's if-env makes for
// a manifest that was run by it: the versions of execution.environment that
// belong to the paths of its plugins. Ok is false if the manifest does not say
// what it was run with.
func Package(manifest value.Value) (file *value.Object, ok bool) {
	listed := objectAt(manifest.Object(), "execution", "environment").Get("dependencies").Items()
	if len(listed) == 0 {
		return nil, false
	}
	var paths []string
	for _, p := range objectAt(manifest.Object(), "initialize", "plugins").All() {
		path := p.Object().Get("path").Str()
		if rest, ok := strings.CutPrefix(path, "https://github.com/"); ok {
			path = rest
		}
		paths = append(paths, path)
	}
	dependencies := value.NewObject(len(listed))
	for _, item := range listed {
		text, _, _ := strings.Cut(item.Str(), " ")
		at := strings.LastIndexByte(text, '@')
		if at <= 0 {
			continue
		}
		name, version := text[:at], text[at+1:]
		if slices.ContainsFunc(paths, func(p string) bool {
			return p == name || strings.HasPrefix(p, name+"/") || strings.HasSuffix(p, "/"+name)
		}) {
			dependencies.Set(name, value.Text("^"+version))
		}
	}
	file = value.NewObject(5)
	file.Set("name", value.Text("if-environment"))
	file.Set("description", value.Text("packages that the manifest was run with"))
	file.Set("version", value.Text("0.0.1"))
	file.Set("dependencies", dependencies.Value())
	return file, true
}
