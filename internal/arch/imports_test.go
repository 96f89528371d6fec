// Package arch holds the one test that keeps the layers in order.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "noether/"

// policy is the whole architecture, leaves first. A package may import the
// standard library, the packages named on its line, and nothing else. Names
// with a dot in their first element are other people's modules and cover
// everything below them. A line ending in /... speaks for every package below
// it that has no line of its own; the word any lifts all limits.
//
// To widen a line is a design decision: say why in the commit.
const policy = `
# vocabulary: pure data, no I/O, no clock, no logger
internal/unit:
internal/probe:
internal/energy:             internal/unit
internal/workload:           internal/unit
internal/snapshot:           internal/unit internal/probe internal/energy internal/workload

# the kernel's files, below a root that tests replace
internal/linux:              golang.org/x/sys
internal/linux/...:          internal/linux golang.org/x/sys

# sources: what was consumed, who ran, what they are called
internal/sensor:             internal/unit internal/energy
internal/sensor/...:         internal/unit internal/probe internal/energy internal/sensor internal/linux golang.org/x/sys
internal/sensor/all:         internal/probe internal/energy internal/sensor internal/sensor/... internal/linux
internal/usage:              internal/unit internal/probe internal/workload internal/linux internal/linux/...
internal/usage/...:          internal/unit internal/probe internal/workload internal/usage internal/linux internal/linux/... golang.org/x/sys
internal/usage/bpf:          internal/unit internal/probe internal/workload internal/usage internal/linux internal/linux/... github.com/cilium/ebpf golang.org/x/sys
internal/usage/all:          internal/probe internal/workload internal/usage internal/usage/... internal/linux internal/linux/...
internal/identity:           internal/workload
internal/identity/...:       internal/workload internal/identity internal/linux internal/linux/...
internal/identity/docker:    internal/workload internal/identity internal/probe
internal/identity/kube:      internal/probe internal/workload internal/identity k8s.io/apimachinery k8s.io/client-go k8s.io/klog
internal/identity/all:       internal/workload internal/identity internal/identity/... internal/linux

# arithmetic: functions of their arguments
internal/attribution:        internal/unit internal/energy internal/workload internal/snapshot
internal/carbon:             internal/unit

# the grid
internal/grid:               internal/unit
internal/grid/...:           internal/unit internal/grid internal/grid/fetch internal/grid/regions internal/promclient
internal/grid/file:          internal/grid internal/grid/regions internal/grid/yearly
internal/grid/all:           internal/grid internal/grid/... internal/promclient
internal/grid/watch:         internal/unit internal/grid
internal/grid/configmap:     internal/grid k8s.io/apimachinery k8s.io/client-go
internal/grid/exporter:      internal/grid github.com/prometheus/client_golang

# what surrounds a machine: electricity, price, hardware
internal/site:               internal/unit internal/snapshot internal/grid internal/grid/... internal/promclient internal/linux
internal/site/...:           internal/unit internal/snapshot internal/site internal/linux

# the tick: the only place where sources meet attribution
internal/agent:              internal/unit internal/probe internal/energy internal/workload internal/snapshot internal/linux internal/sensor internal/usage internal/identity internal/attribution internal/carbon internal/grid golang.org/x/sys

# readers of snapshots: they know nothing upstream
internal/export:             internal/unit internal/probe internal/energy internal/workload internal/snapshot
internal/export/...:         internal/unit internal/probe internal/energy internal/workload internal/snapshot internal/export
internal/export/prometheus:  internal/unit internal/probe internal/energy internal/workload internal/snapshot internal/export github.com/klauspost/compress
internal/export/remotewrite: internal/unit internal/energy internal/workload internal/snapshot internal/export github.com/prometheus/prometheus/prompb github.com/klauspost/compress
internal/export/otlp:        internal/unit internal/energy internal/workload internal/snapshot internal/export go.opentelemetry.io/proto/otlp google.golang.org/protobuf
internal/store:              internal/unit internal/energy internal/workload internal/snapshot internal/export github.com/prometheus/prometheus github.com/prometheus/common github.com/prometheus/client_golang
internal/web:                internal/unit internal/probe internal/energy internal/workload internal/snapshot internal/export internal/export/prometheus internal/export/ndjson internal/store internal/promclient ui github.com/prometheus/exporter-toolkit github.com/prometheus/prometheus github.com/prometheus/common
internal/web/promapi:        internal/export internal/export/prometheus github.com/prometheus/prometheus github.com/prometheus/common github.com/prometheus/client_golang github.com/klauspost/compress
internal/web/promproxy:      internal/promclient

# clients and views
internal/promclient:         internal/unit github.com/prometheus/client_golang github.com/prometheus/common
internal/promwrite:          github.com/prometheus/prometheus/prompb github.com/prometheus/common github.com/klauspost/compress
internal/tui:                internal/unit internal/energy internal/workload internal/snapshot github.com/charmbracelet

# the manifest engine: a second, separate stream
internal/impact/value:
internal/impact/fault:
internal/impact/schema:      internal/impact/value
internal/impact/meter:
internal/impact/jsyaml:      internal/impact/value internal/impact/fault go.yaml.in/yaml/v3
internal/impact/expr:        internal/impact/value internal/impact/fault
internal/impact/plugin:      internal/impact/value internal/impact/fault internal/impact/schema internal/impact/expr
internal/impact:             internal/impact/value internal/impact/fault internal/impact/schema internal/impact/plugin internal/impact/jsyaml
internal/impact/builtin:     internal/impact/value internal/impact/fault internal/impact/schema internal/impact/plugin internal/impact/jsyaml internal/impact/meter internal/grid internal/grid/... internal/promclient internal/promwrite github.com/dlclark/regexp2
internal/impact/serve:       internal/impact internal/impact/value internal/impact/fault internal/impact/plugin internal/impact/jsyaml
internal/impact/...:         internal/impact internal/impact/value internal/impact/fault internal/impact/plugin internal/impact/jsyaml

# assembly, page, tests, generators
internal/config:             any
internal/arch:
cmd/...:                     any
ui:
test/...:                    any
deploy/...:                  any
`

type rule struct {
	pattern string
	allowed []string
}

func parsePolicy() []rule {
	var rules []rule
	for line := range strings.Lines(policy) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, rest, _ := strings.Cut(line, ":")
		rules = append(rules, rule{pattern, strings.Fields(rest)})
	}
	return rules
}

// match returns the rule for pkg; a line of its own wins over a /... line.
func match(rules []rule, pkg string) (best rule, found bool) {
	for _, r := range rules {
		if r.pattern == pkg {
			return r, true
		}
		if dir, ok := strings.CutSuffix(r.pattern, "/..."); ok && strings.HasPrefix(pkg, dir+"/") {
			best, found = r, true
		}
	}
	return best, found
}

func (r rule) permits(imp string) bool {
	own, isOwn := strings.CutPrefix(imp, module)
	first, _, _ := strings.Cut(imp, "/")
	if !isOwn && !strings.Contains(first, ".") {
		return true // standard library
	}
	for _, a := range r.allowed {
		switch {
		case a == "any", isOwn && a == own:
			return true
		case isOwn && strings.HasSuffix(a, "/...") && strings.HasPrefix(own, strings.TrimSuffix(a, "...")):
			return true
		case !isOwn && (imp == a || strings.HasPrefix(imp, a+"/")):
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	rules := parsePolicy()
	root := filepath.Join("..", "..")
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "tools" || base == "vendor" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		pkg := path.Dir(name)
		r, ok := match(rules, pkg)
		if !ok {
			t.Errorf("%s: package %s has no line in the policy", name, pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !r.permits(imp) {
				t.Errorf("%s: %s may not import %s", name, pkg, imp)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
