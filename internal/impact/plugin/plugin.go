// Package plugin is the contract between the manifest engine and its plugins,
// and the frame around every plugin that is written as rows in, rows out:
// mapping of names, arithmetic in configuration, checks, output names. A plugin
// states what it takes and computes; it neither checks nor renames.
package plugin

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// Plugin is one entry of initialize.plugins, ready to run.
//
// Execute takes the rows of one node and returns the rows that follow. It owns
// the rows it is given: it may change them, return them, or return others. It
// is called once per node that names the plugin, by several goroutines at a
// time unless the dialect is sequential, and must give the same rows for the
// same input whatever the order of calls (unless the dialect says otherwise).
// An error is a *fault.Error wherever the failure has a class.
type Plugin interface {
	Execute(ctx context.Context, rows []*value.Object, node *Node) ([]*value.Object, error)
	// Metadata describes the parameters that the plugin reads and makes:
	// the method's own, with the manifest's parameter-metadata over it
	// (inputs are merged, outputs replaced).
	Metadata() Metadata
}

// Node is where a plugin runs. Read only.
type Node struct {
	Path   []string      // names of the children from the root: {"shop", "pod-1"}; empty at the root
	Config *value.Object // the node's config for this plugin; builtin methods ignore it; may be nil
	// Aggregation tells what the plugins of the run say about a parameter, with
	// the last one's word where they differ; false if none knows it. May be nil.
	Aggregation func(name string) (Parameter, bool)
	// SetTime changes how a parameter is folded over time in what the last plugin
	// that describes it says, in the printed manifest too: the reference's
	// time-sync does so. Only in the reference's dialect; may be nil.
	SetTime func(name string, method Aggregation)
}

// Finisher is a plugin that acts once after the whole tree has been computed
// and aggregated, such as one that publishes. Execute marks the nodes that it
// is for. Finish is called in the order of initialize.plugins and reports
// failures; it does not change the result. In a dry run it says what it would do.
type Finisher interface {
	Finish(ctx context.Context, result *Result) error
}

// Result is a finished run, for plugins that act on it. Read only.
type Result struct {
	Manifest *value.Object // name, description, tags, initialize, …, tree with outputs and aggregated
	Root     *Component
}

// Component is one node of the tree after a run. Read only.
type Component struct {
	Path     []string
	Rows     []*value.Object // outputs of a leaf; of a grouping node its aggregated rows, nil without aggregation
	Total    *value.Object   // the node's "aggregated", nil without
	Period   *Period         // nil where the tree computes no SCI
	Err      error           // why this component has no result; the others of a run still have theirs
	Children []*Component
}

// Period is the SCI of a component over the whole window by ISO/IEC 21031:
// the sum of carbon divided by the functional units of the same window, a ratio
// of sums and not a mean of ratios.
type Period struct {
	Start          time.Time
	Duration       float64 // seconds
	Carbon         float64 // gCO2e
	Operational    float64 // gCO2e, NaN where the rows do not tell
	Embodied       float64 // gCO2e, NaN where the rows do not tell
	Energy         float64 // kWh, NaN where the rows do not tell
	FunctionalUnit string  // the parameter that R was read from
	Units          float64 // R of the window, the system's, counted once
	SCI            float64 // Carbon ÷ Units
}

// Metadata describes parameters in the order they were declared.
type Metadata struct {
	Inputs, Outputs []Parameter
}

// Parameter is what aggregation, time-sync and explain know about a name.
type Parameter struct {
	Name        string
	Unit        string
	Description string
	Time        Aggregation // how values of successive rows become one
	Component   Aggregation // how values of sibling components become one
}

// Aggregation is a method of folding values into one.
type Aggregation string

// The methods: add, mean, leave out, take the last.
const (
	Sum  Aggregation = "sum"
	Avg  Aggregation = "avg"
	None Aggregation = "none"
	Copy Aggregation = "copy"
)

// Declaration is one entry of initialize.plugins as the manifest has it. Read only.
type Declaration struct {
	Name     string // its key under initialize.plugins
	Path     string
	Method   string
	Mapping  *value.Object // plugin's name → manifest's name; nil without
	Config   *value.Object // nil without; under the reference's dialect edits of it appear in the printed manifest
	Metadata Metadata      // parameter-metadata; see Node.SetTime
	// HasInputs and HasOutputs tell a parameter-metadata that was given from one that was not.
	HasInputs, HasOutputs bool
}

// Env is what a plugin may touch of the world. Every field is set; safe for
// concurrent use.
type Env struct {
	Dialect Dialect
	Now     func() time.Time
	Getenv  func(string) string
	// Open opens a file by path or an http(s) URL, bounded in size and time.
	Open func(ctx context.Context, name string) (io.ReadCloser, error)
	// HTTP is the client for other requests.
	HTTP *http.Client
	// AllowShell lets the Shell method run commands.
	AllowShell bool
	// DryRun keeps plugins from acting on the world outside: they check and say what they would do.
	DryRun bool
	// Disabled names methods that this run refuses, with why, in lower case.
	Disabled map[string]string
	// Warn tells the user something that does not stop the run. One line, no newline.
	Warn func(format string, args ...any)
	// Random returns a number in [0, 1).
	Random func() float64
	// MaxRows bounds the rows that the plugins of one run make, all components
	// together; 0 leaves each plugin its own bound at each component.
	MaxRows int

	made *atomic.Int64 // rows made in this run
}

// ForRun returns an Env for one run, which counts the rows made in it.
func (e *Env) ForRun() *Env {
	run := *e
	run.made = &atomic.Int64{}
	return &run
}

// Room reports whether n more rows may be made, and takes the room for them.
func (e *Env) Room(n float64) error {
	if e.MaxRows > 0 && e.made != nil && !(n <= float64(e.MaxRows) && e.made.Add(int64(n)) <= int64(e.MaxRows)) {
		return fault.New(fault.Config, "Making %.0f observations: this run may make no more than %d", n, e.MaxRows)
	}
	return nil
}

// Method declares one kind of plugin. The table of all methods is the builtin
// package's; documentation, lint and checks are made from it.
type Method struct {
	Name    string   // "Coefficient"
	Paths   []string // module paths it answers to besides "builtin"
	Aliases []string // other method names under those paths
	Summary string   // one sentence for lists
	Doc     string   // Markdown: what it computes, formula with units, edge cases
	Example string   // YAML of one entry of initialize.plugins, without its name

	Config  schema.Object // the configuration, documented
	Inputs  []Parameter   // parameters it reads that have a fixed name
	Outputs []Parameter   // parameters it makes that have a fixed name

	// Needs a network, a shell, or files: said in the docs and used by serve.
	Reaches Reach

	// New makes the plugin of one declaration. Configuration is checked when
	// the plugin first runs, not here: a plugin that no node uses costs nothing.
	New func(env *Env, d *Declaration, m *Method) (Plugin, error)

	// Formula explains the value of parameter out of a finished row; ok is
	// false if this plugin does not make it. Nil where there is nothing to say.
	Formula func(config *value.Object, out string) (f Formula, ok bool)
}

// Reach is a set of things outside the manifest that a method uses.
type Reach uint8

// What a method may reach.
const (
	Files Reach = 1 << iota
	Network
	Shell
)

// Formula tells how a plugin makes one parameter.
type Formula struct {
	Text   string   // "energy × grid/carbon-intensity"
	Inputs []string // the parameters in it, for the next step of an explanation
	Unit   string   // of the result, "" if the inputs decide
	Source string   // standard, paper or data set of method and constants, "" for plain arithmetic
}
