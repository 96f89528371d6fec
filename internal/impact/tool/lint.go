package tool

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"noether/internal/impact"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Problem is something about a manifest that looks wrong without running it.
type Problem struct {
	Path  string // initialize.plugins.sci.config, tree.children.shop
	Text  string // what is wrong and what mends it
	Error bool   // the manifest cannot run as it is; else it runs, but hardly as meant
}

func (p Problem) String() string {
	kind := "warning"
	if p.Error {
		kind = "error"
	}
	return kind + ": " + p.Path + ": " + p.Text
}

type linter struct {
	methods  []plugin.Method
	plugins  map[string]*plugin.Method // by name in the manifest; nil where the method is unknown
	used     map[string]bool
	problems []Problem
}

// Lint reads a manifest and says what looks wrong, in its order: keys that
// nothing reads, methods that do not exist, configurations that the methods do
// not take, pipelines that name no plugin, nodes that compute nothing.
func Lint(manifest value.Value, methods []plugin.Method) []Problem {
	l := &linter{methods: methods, plugins: map[string]*plugin.Method{}, used: map[string]bool{}}
	m := manifest.Object()
	if m == nil {
		return []Problem{{"manifest", "a manifest is a map with the keys name, initialize and tree", true}}
	}
	shape := impact.Schema()
	var known []string
	for _, f := range shape.Fields {
		known = append(known, f.Name)
	}
	for k := range m.All() {
		if !slices.Contains(known, k) {
			l.warn(k, "nothing reads this key"+meant(k, known))
		}
	}
	if _, issues := shape.Parse(manifest, nil); issues != nil {
		for _, i := range issues {
			l.fail(strings.Join(i.Path, "."), strings.ToLower(i.Text))
		}
	}
	declared := objectAt(m, "initialize", "plugins")
	for name, p := range declared.All() {
		l.plugin(name, p.Object())
	}
	l.tree(manifest)
	for name := range declared.All() {
		if !l.used[name] {
			l.warn("initialize.plugins."+name, "no pipeline names this plugin")
		}
	}
	l.metrics(m)
	return l.problems
}

func (l *linter) warn(path, text string) {
	l.problems = append(l.problems, Problem{path, text, false})
}

func (l *linter) fail(path, text string) { l.problems = append(l.problems, Problem{path, text, true}) }

func (l *linter) plugin(name string, o *value.Object) {
	l.plugins[name] = nil
	at := "initialize.plugins." + name
	known := []string{"path", "method", "mapping", "config", "parameter-metadata"}
	for k := range o.All() {
		switch {
		case k == "global-config":
			l.warn(at+"."+k, "this is the older name of config: rename it")
		case !slices.Contains(known, k):
			l.warn(at+"."+k, "nothing reads this key"+meant(k, known))
		}
	}
	if !o.Get("path").IsString() || !o.Get("method").IsString() {
		return // the shape has been reported
	}
	method := l.resolve(at, o.Get("path").Str(), o.Get("method").Str())
	if method == nil {
		return
	}
	l.plugins[name] = method
	config := o.Get("config").Object()
	if config == nil {
		config = o.Get("global-config").Object()
	}
	l.config(at+".config", method, config, o.Get("mapping").Object())
}

// resolve finds a method by the path and name that a manifest gives it.
func (l *linter) resolve(at, path, name string) *plugin.Method {
	if rest, ok := strings.CutPrefix(path, "https://github.com/"); ok {
		path = rest[strings.LastIndexByte(rest, '/')+1:]
	}
	var here, paths []string
	var elsewhere *plugin.Method
	for i := range l.methods {
		m := &l.methods[i]
		owns := slices.Contains(m.Paths, path)
		if path == "builtin" && m.Name == name || owns && (m.Name == name || slices.Contains(m.Aliases, name)) {
			return m
		}
		if path == "builtin" || owns {
			here = append(here, m.Name)
		}
		if m.Name == name {
			elsewhere = m
		}
		paths = append(paths, m.Paths...)
	}
	switch {
	case len(here) > 0:
		l.fail(at+".method", fmt.Sprintf("%s has no method %q%s", path, name, meant(name, here)))
	case elsewhere != nil:
		l.fail(at+".path", fmt.Sprintf("this engine has no module %q, but a method %s of its own: write path: builtin", path, name))
	default:
		slices.Sort(paths)
		l.fail(at+".path", fmt.Sprintf("this engine has no module %q: builtin and the methods of %s are there", path, strings.Join(slices.Compact(paths), ", ")))
	}
	return nil
}

func (l *linter) config(at string, m *plugin.Method, config, mapping *value.Object) {
	renamed := func(k string) bool { return mapping != nil && mapping.Has(k) }
	for _, f := range m.Config.Fields {
		v := config.Get(f.Name)
		if renamed(f.Name) || formula(v) {
			continue
		}
		if _, issues := f.Type.Parse(v, []string{f.Name}); issues != nil {
			for _, i := range issues {
				l.fail(at+"."+strings.Join(i.Path, "."), strings.ToLower(i.Text)+": "+m.Name+" takes "+f.Type.Describe())
			}
		}
	}
	report := l.fail
	if m.Config.Keep { // the method itself decides about further keys
		report = l.warn
	}
	m.Config.Unknown(config, nil, func(path []string, key string, known []string) {
		if len(path) > 0 || !renamed(key) {
			report(strings.Join(append([]string{at}, append(path, key)...), "."), m.Name+" has no such setting"+meant(key, known))
		}
	})
}

// formula reports whether a value is computed when a plugin runs: text with an
// equals sign or of digits.
func formula(v value.Value) bool {
	s := v.Str()
	return v.IsString() && s != "" && (s[0] == '=' || '0' <= s[0] && s[0] <= '9')
}

func (l *linter) tree(manifest value.Value) {
	type inherited struct{ pipeline value.Value }
	from := map[string]inherited{}
	for n := range Walk(manifest) {
		own := inherited{n.Data.Get("pipeline")}
		if len(n.Path) > 0 && !own.pipeline.Truthy() {
			own = from[placeOf(n.Path[:len(n.Path)-1])]
		}
		at := n.Name()
		from[at] = own
		if p := n.Data.Get("pipeline"); p.Truthy() {
			l.pipeline(at+".pipeline", p)
		}
		known := []string{"children", "inputs", "outputs", "defaults", "config", "pipeline", "aggregated", "sci-period"}
		for k := range n.Data.All() {
			if !slices.Contains(known, k) {
				l.warn(at+"."+k, "nothing reads this key"+meant(k, known))
			}
		}
		if !n.Leaf {
			if len(n.Data.Get("inputs").Items()) > 0 {
				l.warn(at+".inputs", "a component with children does not use inputs of its own: move them to a child")
			}
			continue
		}
		if !own.pipeline.Truthy() {
			l.warn(at, "no pipeline here or above: nothing is computed")
		}
		l.inputs(at, n.Data.Get("inputs"))
	}
}

func (l *linter) pipeline(at string, p value.Value) {
	o := p.Object()
	if o == nil {
		l.fail(at, "a pipeline is a map of phases: write compute: [first, second]")
		return
	}
	phases := []string{"observe", "regroup", "compute"}
	for k, v := range o.All() {
		switch {
		case !slices.Contains(phases, k):
			l.warn(at+"."+k, "there is no such phase"+meant(k, phases))
		case v.IsNullish():
		case v.Kind() != value.Array:
			l.fail(at+"."+k, "write a list: ["+v.String()+"]")
		case k != "regroup":
			for i, name := range v.Items() {
				l.used[name.Str()] = true
				if _, ok := l.plugins[name.String()]; !ok {
					names := slices.Sorted(maps.Keys(l.plugins))
					l.fail(at+"."+k+"."+strconv.Itoa(i), fmt.Sprintf("initialize.plugins has no %q%s", name.String(), meant(name.String(), names)))
				}
			}
		}
	}
}

func (l *linter) inputs(at string, v value.Value) {
	if v.IsNullish() {
		return
	}
	if v.Kind() != value.Array {
		l.fail(at+".inputs", "inputs are a list of maps, one for each observation")
		return
	}
	for i, row := range v.Items() {
		o := row.Object()
		if o == nil {
			l.fail(at+".inputs."+strconv.Itoa(i), "an observation is a map of parameters")
			return
		}
		for _, k := range []string{"timestamp", "duration"} {
			if !o.Has(k) {
				l.warn(at+".inputs."+strconv.Itoa(i), "the observation has no "+k)
				return // one is enough: the others are usually the same
			}
		}
	}
}

// metrics reports metrics to aggregate for which nothing says how.
func (l *linter) metrics(m *value.Object) {
	described := map[string]bool{"timestamp": true, "duration": true}
	for _, p := range objectAt(m, "initialize", "plugins").All() {
		for _, side := range []string{"inputs", "outputs"} {
			for name := range objectAt(p.Object(), "parameter-metadata", side).All() {
				described[name] = true
			}
		}
	}
	for _, method := range l.plugins {
		if method == nil {
			continue
		}
		for _, p := range slices.Concat(method.Inputs, method.Outputs) {
			described[p.Name] = true
		}
	}
	for i, v := range objectAt(m, "aggregation").Get("metrics").Items() {
		if !described[v.Str()] {
			l.warn("aggregation.metrics."+strconv.Itoa(i), fmt.Sprintf("nothing says how to aggregate %q: give it parameter-metadata with an aggregation-method", v.Str()))
		}
	}
}

// meant suggests the known word that is nearest to one that is not, as the end
// of a sentence; empty if none is near.
func meant(word string, known []string) string {
	best := plugin.Closest(word, known)
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}
