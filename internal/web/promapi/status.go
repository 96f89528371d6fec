package promapi

import (
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/export"
)

// engineVersion is the version of Prometheus whose engine answers: its module
// v0.X.Y is Prometheus 3.Z, see https://github.com/prometheus/prometheus/releases.
// Clients such as Grafana choose features by it.
const engineVersion = "3.5.1"

// metadata is what is known about the samples of one name.
type metadata struct{ name, kind, help, unit string }

// metadataOf returns the metadata of families and their copies, by name.
func metadataOf(families []export.Family, copyOf func(*export.Family) string) []metadata {
	list := make([]metadata, 0, 2*len(families))
	for i := range families {
		f := &families[i]
		m := metadata{f.Name, f.Type.String(), f.Help, f.Unit}
		list = append(list, m)
		if copyOf == nil {
			continue
		}
		if m.name = copyOf(f); m.name != "" {
			m.help += " (The copy for long times, with fewer samples.)"
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(x, y metadata) int { return strings.Compare(x.name, y.name) })
	return list
}

// metricMetadata answers /api/v1/metadata.
func (a *api) metricMetadata(r *request) (*answer, error) {
	limit := -1
	for _, name := range []string{"limit", "limit_per_metric"} { // each metric has one, so the second limits nothing
		if s := r.form.Get(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil {
				return nil, &fault{badData, errors.New(name + " must be a number")}
			}
			if name == "limit" {
				limit = n
			}
		}
	}
	list := a.metadata
	if metric := r.form.Get("metric"); metric != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(m metadata) bool { return m.name != metric })
	}
	if limit >= 0 && len(list) > limit {
		list = list[:limit]
	}
	return &answer{data: func(e *encoder) {
		e.raw("{")
		for i, m := range list {
			if i > 0 {
				e.raw(",")
			}
			e.text(m.name)
			e.raw(":[")
			e.strings("type", m.kind, "help", m.help, "unit", m.unit)
			e.raw("]")
		}
		e.raw("}")
	}}, nil
}

// buildInfo answers /api/v1/status/buildinfo. It has no member features:
// Grafana tells by it Mimir from Prometheus.
func (a *api) buildInfo(*request) (*answer, error) {
	return &answer{data: func(e *encoder) {
		e.strings("version", engineVersion, "revision", a.opt.About.Revision, "branch", "noether "+a.opt.About.Version,
			"buildUser", "", "buildDate", "", "goVersion", a.opt.About.GoVersion)
	}}, nil
}

// runtimeInfo answers /api/v1/status/runtimeinfo, as far as it can be known here.
func (a *api) runtimeInfo(*request) (*answer, error) {
	return &answer{data: func(e *encoder) {
		e.raw(`{"startTime":`)
		e.text(a.opt.About.Start.UTC().Format(time.RFC3339Nano))
		e.raw(`,"serverTime":`)
		e.text(a.opt.Now().UTC().Format(time.RFC3339Nano))
		e.raw(`,"reloadConfigSuccess":true,"corruptionCount":0,"goroutineCount":`)
		e.raw(strconv.Itoa(runtime.NumGoroutine()))
		e.raw(`,"GOMAXPROCS":`)
		e.raw(strconv.Itoa(runtime.GOMAXPROCS(0)))
		e.raw("}")
	}}, nil
}

// constant answers always the same: what Prometheus says where nothing is configured.
func constant(data string) func(*request) (*answer, error) {
	return func(*request) (*answer, error) {
		return &answer{data: func(e *encoder) { e.raw(data) }}, nil
	}
}
