package plugin

import (
	"context"

	"noether/internal/impact/fault"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// Kernel is the part of a method that is its own: what it checks and computes.
// The frame around it maps names, evaluates arithmetic and words errors.
type Kernel struct {
	// Arithmetic lets strings in config and rows be arithmetic. Methods that
	// read no numbers leave it off.
	Arithmetic bool
	// Expressions are the keys of config whose text may name parameters in arithmetic.
	Expressions []string
	// NoConfig lets config be absent.
	NoConfig bool
	// CheckConfig returns the config as the method sees it. Nil: the method's
	// schema decides.
	CheckConfig func(config *value.Object) (*value.Object, error)
	// CheckInput looks at row index before Run and may set defaults in it. Nil:
	// nothing is checked.
	CheckInput func(row *value.Object, config *value.Object, index int) error
	// Run computes. It may change the rows of the call and return them, or
	// return others.
	Run func(ctx context.Context, c *Call) ([]*value.Object, error)
}

// Call is one run of a plugin at one node.
type Call struct {
	Rows   []*value.Object // owned by the call
	Config *value.Object   // checked, mapped, evaluated; read only
	// Row returns the config for row i: Config, unless an expression in it
	// differs by row.
	Row  func(i int) *value.Object
	Node *Node
	Env  *Env
}

// framed is a Kernel with its frame. It keeps nothing between calls but, in the
// reference's dialect, the mapping and the config of its declaration.
type framed struct {
	env *Env
	d   *Declaration
	m   *Method
	k   Kernel
}

// NewFramed returns the plugin of declaration d that runs k as method m.
func NewFramed(env *Env, d *Declaration, m *Method, k Kernel) Plugin {
	return &framed{env, d, m, k}
}

// Metadata returns the method's parameters with the declaration's over them:
// inputs are merged by name, outputs replaced.
func (f *framed) Metadata() Metadata {
	out := Metadata{Inputs: append([]Parameter(nil), f.m.Inputs...), Outputs: f.m.Outputs}
next:
	for _, p := range f.d.Metadata.Inputs {
		for i := range out.Inputs {
			if out.Inputs[i].Name == p.Name {
				out.Inputs[i] = p
				continue next
			}
		}
		out.Inputs = append(out.Inputs, p)
	}
	if f.d.HasOutputs {
		out.Outputs = f.d.Metadata.Outputs
	}
	return out
}

// Execute checks config and rows, and runs the kernel.
func (f *framed) Execute(ctx context.Context, rows []*value.Object, node *Node) ([]*value.Object, error) {
	config, err := f.checkConfig(f.d.Config)
	if err != nil {
		return nil, err
	}
	if f.k.CheckInput != nil {
		for i, row := range rows {
			if err := f.k.CheckInput(row, config, i); err != nil {
				return nil, err
			}
		}
	}
	return f.k.Run(ctx, &Call{Rows: rows, Config: config, Row: func(int) *value.Object { return config }, Node: node, Env: f.env})
}

func (f *framed) checkConfig(config *value.Object) (*value.Object, error) {
	if config.Len() == 0 && !f.k.NoConfig {
		return nil, fault.New(fault.Config, "Config is not provided.")
	}
	if config == nil {
		config = value.NewObject(0)
	}
	if f.k.CheckConfig != nil {
		return f.k.CheckConfig(config)
	}
	checked, issues := f.m.Config.Parse(config.Value(), nil)
	if issues != nil {
		return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	return checked.Object(), nil
}
