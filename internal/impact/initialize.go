package impact

import (
	"fmt"
	"slices"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

const builtinPath = "builtin"

// resolve finds the method of a declaration.
func resolve(o *Options, d *plugin.Declaration) (*plugin.Method, error) {
	switch {
	case d.Path == "":
		return nil, fault.New(fault.MissingPluginPath, "Initalization param 'path' is missing.") //nolint:misspell // the reference's text
	case d.Method == "":
		return nil, fault.New(fault.MissingPluginMethod, "Initalization param 'method' is missing.") //nolint:misspell // the reference's text
	case strings.HasPrefix(d.Path, "../"):
		return nil, fault.New(fault.PluginInitialization, "Provided module `%s:%s` is invalid or not found. \n", d.Path, d.Method)
	}
	path := module(d.Path)
	var here, paths []string
	for i := range o.Methods {
		m := &o.Methods[i]
		paths = append(paths, m.Paths...)
		switch {
		case path == builtinPath && m.Name == d.Method:
			return m, nil
		case slices.Contains(m.Paths, path) && (m.Name == d.Method || slices.Contains(m.Aliases, d.Method)):
			return m, nil
		case path == builtinPath || slices.Contains(m.Paths, path):
			here = append(here, m.Name)
		}
	}
	instead := ""
	if o.Instead != nil {
		if use := o.Instead(d.Path, d.Method); use != "" {
			instead = "; " + use
		}
	}
	if len(here) == 0 {
		slices.Sort(paths)
		return nil, fault.New(fault.PluginInitialization, "Provided module `%s` is invalid or not found. Error: Cannot find module '%s' for plugin %s; this engine has %s%s", path, path, d.Name, strings.Join(slices.Compact(append([]string{builtinPath}, paths...)), ", "), instead)
	}
	if !o.Env.Dialect.UnknownKeys {
		return nil, fault.New(fault.Type, "plugin is not a function%s", instead)
	}
	return nil, fault.New(fault.PluginInitialization, "plugin %s: path %q has no method %q%s; it has %s%s", d.Name, d.Path, d.Method, suggestion(d.Method, here), strings.Join(here, ", "), instead)
}

// module returns the name of the module behind a path: the repository's for a
// GitHub address.
func module(path string) string {
	if rest, ok := strings.CutPrefix(path, "https://github.com/"); ok {
		return rest[strings.LastIndexByte(rest, '/')+1:]
	}
	return strings.TrimPrefix(path, "./")
}

// notInitialized words that a pipeline names a plugin that is not declared.
func (r *run) notInitialized(name string) error {
	var hint string
	if r.dialect.UnknownKeys {
		names := make([]string, len(r.ordered))
		for i, in := range r.ordered {
			names[i] = in.d.Name
		}
		hint = suggestion(name, names)
	}
	return fault.New(fault.PluginInitialization, "Not initalized plugin: %s. Check if %s is in 'manifest.initalize.plugins'.%s", name, name, strings.Replace(hint, ": ", " ", 1)) //nolint:misspell // the reference's text
}

// suggestion returns ": did you mean "x"?" for the nearest of options, or
// nothing if none is near.
func suggestion(word string, options []string) string {
	best := plugin.Closest(word, options)
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// checkPipeline refuses pipelines in the form that older manifests have, where
// the reference computes nothing and reports success.
func (r *run) checkPipeline(n *node, p value.Value) error {
	phases := []string{"observe", "regroup", "compute"}
	if p.Kind() == value.Map {
		known := p.Object().Len() == 0
		for phase := range p.Object().All() {
			known = known || slices.Contains(phases, phase)
		}
		if r.dialect.OldPipeline && !known {
			phase := p.Object().Key(0)
			return fault.New(fault.ManifestValidation, "%s.pipeline has none of the phases %s: %s is none%s", where(n.path), strings.Join(phases, ", "), phase, suggestion(phase, phases))
		}
		for phase := range p.Object().All() {
			if r.dialect.UnknownKeys && !slices.Contains(phases, phase) {
				r.warn(n, "pipeline.%s is no phase%s; the phases are %s", phase, suggestion(phase, phases), strings.Join(phases, ", "))
			}
		}
		return nil
	}
	if !r.dialect.OldPipeline {
		return nil
	}
	kind, names := p.Kind().String(), p.String()
	if p.Kind() == value.Array {
		kind, names = "a list", strings.ReplaceAll(names, ",", ", ")
	}
	return fault.New(fault.ManifestValidation, "%s.pipeline is %s, as in older manifests: write it by phases, pipeline: {compute: [%s]}", where(n.path), kind, names)
}

// warnNodeConfig tells that config of a node reaches few plugins.
func (r *run) warnNodeConfig(n *node, config value.Value) {
	for name := range config.Object().All() {
		r.warn(n, "config for %s is at the component, where builtin methods do not read it: move it to initialize.plugins.%s.config", name, name)
	}
}
