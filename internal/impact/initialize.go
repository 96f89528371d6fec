package impact

import (
	"fmt"
	"slices"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
)

const builtinPath = "builtin"

// resolve finds the method of a declaration.
func resolve(o *Options, d *plugin.Declaration) (*plugin.Method, error) {
	path := module(d.Path)
	var here []string
	for i := range o.Methods {
		m := &o.Methods[i]
		if path == builtinPath && m.Name == d.Method || slices.Contains(m.Paths, path) && (m.Name == d.Method || slices.Contains(m.Aliases, d.Method)) {
			return m, nil
		}
		if path == builtinPath || slices.Contains(m.Paths, path) {
			here = append(here, m.Name)
		}
	}
	switch {
	case d.Path == "":
		return nil, fault.New(fault.MissingPluginPath, "Initalization param 'path' is missing.")
	case d.Method == "":
		return nil, fault.New(fault.MissingPluginMethod, "Initalization param 'method' is missing.")
	case len(here) > 0:
		return nil, fault.New(fault.Type, "plugin is not a function")
	}
	return nil, fault.New(fault.PluginInitialization, "Provided module `%s:%s` is invalid or not found. %s", d.Path, d.Method, known(o))
}

// module returns the name of the module behind a path: the repository's for a
// GitHub address.
func module(path string) string {
	if rest, ok := strings.CutPrefix(path, "https://github.com/"); ok {
		parts := strings.Split(rest, "/")
		return parts[len(parts)-1]
	}
	return path
}

// known lists the modules that methods answer to.
func known(o *Options) string {
	paths := []string{builtinPath}
	for i := range o.Methods {
		for _, p := range o.Methods[i].Paths {
			if !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	return fmt.Sprintf("Known modules: %s.", strings.Join(paths, ", "))
}

// knowledge is what the plugins' metadata say about parameters.
type knowledge map[string]plugin.Parameter

func (k *knowledge) register(in *instance, agree bool) error {
	if *k == nil {
		*k = knowledge{}
	}
	m := in.plugin.Metadata()
	for _, p := range slices.Concat(m.Inputs, m.Outputs) {
		(*k)[p.Name] = p
	}
	return nil
}
