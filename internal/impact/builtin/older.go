package builtin

import (
	"context"
	"sync"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// The modules of the framework's plugins before they became builtin. Both were
// given up in June 2024; manifests still name them.
const (
	olderPlugins      = "@grnsft/if-plugins"
	unofficialPlugins = "@grnsft/if-unofficial-plugins"
)

func olderPaths() []string { return []string{olderPlugins, unofficialPlugins} }

// rowFormula computes parameters of a row from others of the same row, as most
// of the older plugins do.
type rowFormula struct {
	needs []schema.Field
	// compute sets the outputs in a row that has what the formula needs.
	compute func(row, config *value.Object, env *plugin.Env) error
	// embodied is the method's name if it computes embodied carbon; see warnEmbodied.
	embodied string
}

// method completes m, whose configuration is optional, with the formula.
func (f rowFormula) method(m plugin.Method) plugin.Method {
	m.Paths = olderPaths()
	m.New = func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
		var warned sync.Once
		return plugin.NewFramed(env, d, m, plugin.Kernel{NoConfig: true, Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
			if f.embodied != "" {
				warnEmbodied(&warned, c, f.embodied, "carbon-embodied")
			}
			for i, row := range c.Rows {
				var issues []schema.Issue
				for _, need := range f.needs {
					_, more := need.Type.Parse(row.Get(need.Name), []string{need.Name})
					issues = append(issues, more...)
				}
				if issues != nil {
					return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, i))
				}
				if err := f.compute(row, c.Config, c.Env); err != nil {
					return nil, err
				}
			}
			return c.Rows, nil
		}}), nil
	}
	return m
}

// formula explains one output.
func formula(name string, f plugin.Formula) func(*value.Object, string) (plugin.Formula, bool) {
	return func(_ *value.Object, out string) (plugin.Formula, bool) { return f, out == name }
}

// parameter describes one parameter with the same method over time and components.
func parameter(name, unit, description string, a plugin.Aggregation) plugin.Parameter {
	return plugin.Parameter{Name: name, Unit: unit, Description: description, Time: a, Component: a}
}
