package impact

import (
	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// manifest is a checked manifest.
type manifest struct {
	fields       *value.Object // the keys that the schema knows, in its order
	tree         *value.Object
	declarations []*plugin.Declaration
	aggregation  *aggregation // nil without
	explain      bool
}

// aggregation is the manifest's aggregation block.
type aggregation struct {
	metrics          []string
	time, components bool
	skip             []string
}

// Schema returns the shape of a manifest. What it does not name is left out of
// the output; inside tree, config and explain everything is taken.
func Schema() schema.Object {
	text, optionalText := schema.Text(), schema.Nullish(schema.Text())
	method := schema.Enum(string(plugin.Sum), string(plugin.Avg), string(plugin.None), string(plugin.Copy))
	parameters := schema.Nullish(schema.Record(schema.Object{Fields: []schema.Field{
		{Name: "unit", Type: text, Doc: "Unit of the parameter."},
		{Name: "description", Type: text, Doc: "What the parameter is."},
		{Name: "aggregation-method", Type: schema.Object{Fields: []schema.Field{
			{Name: "time", Type: method, Doc: "How values of successive rows become one."},
			{Name: "component", Type: method, Doc: "How values of sibling components become one."},
		}}, Doc: "How values are folded."},
	}}))
	return schema.Object{Fields: []schema.Field{
		{Name: "name", Type: text, Doc: "Name of the manifest."},
		{Name: "description", Type: optionalText, Doc: "What the manifest measures."},
		{Name: "tags", Type: schema.Nullish(schema.Object{Fields: []schema.Field{
			{Name: "kind", Type: optionalText, Doc: "Kind of application."},
			{Name: "complexity", Type: optionalText, Doc: "Complexity of the application."},
			{Name: "category", Type: optionalText, Doc: "Category of the application."},
		}}), Doc: "Labels of the manifest."},
		{Name: "disclosure", Type: schema.Optional(schema.Any()), Doc: "What the readers of a score must know; not in the reference's dialect."},
		{Name: "explainer", Type: schema.Optional(schema.Bool()), Doc: "Whether to write the explain block."},
		{Name: "explain", Type: schema.Optional(schema.Record(schema.Any())), Doc: "Written by the engine: units and methods of every parameter."},
		{Name: "aggregation", Type: schema.Nullish(schema.Object{Fields: []schema.Field{
			{Name: "metrics", Type: schema.ArrayOf(text, 0), Doc: "Parameters to aggregate."},
			{Name: "type", Type: schema.Enum("horizontal", "time", "vertical", "component", "both"), Doc: "Over time, over components, or both."},
			{Name: "skip-components", Type: schema.Optional(schema.ArrayOf(text, 0)), Doc: "Components that are left out of aggregation, by name or by dotted path."},
		}}), Doc: "What to aggregate and over what."},
		{Name: "initialize", Type: schema.Object{Fields: []schema.Field{
			{Name: "plugins", Type: schema.Record(schema.Object{Fields: []schema.Field{
				{Name: "path", Type: text, Doc: "Module that has the method; builtin for this engine's own."},
				{Name: "method", Type: text, Doc: "Name of the method."},
				{Name: "mapping", Type: schema.Optional(schema.Record(text)), Doc: "Names of the plugin's parameters in this manifest."},
				{Name: "config", Type: schema.Optional(schema.Record(schema.Any())), Doc: "Configuration of the method."},
				{Name: "parameter-metadata", Type: schema.Optional(schema.Object{Fields: []schema.Field{
					{Name: "inputs", Type: parameters, Doc: "Parameters that the plugin reads."},
					{Name: "outputs", Type: parameters, Doc: "Parameters that the plugin makes."},
				}}), Doc: "Units, descriptions and aggregation methods of parameters."},
			}}), Doc: "The plugins that pipelines may name."},
		}}, Doc: "What the run needs."},
		{Name: "execution", Type: schema.Any(), Doc: "Written by the engine: how the run went."},
		{Name: "tree", Type: schema.Record(schema.Any()), Doc: "The components."},
	}}
}

func parseManifest(raw *value.Object, o *Options) (*manifest, error) {
	if o.Env.Dialect.UnknownKeys {
		raw = mendKeys(raw, o)
	}
	parsed, issues := Schema().Parse(raw.Value(), nil)
	if issues != nil {
		return nil, &fault.Error{Class: fault.ManifestValidation, Message: schema.Message(issues, schema.NoIndex)}
	}
	fields := parsed.Object()
	if !o.Env.Dialect.UnknownKeys {
		fields.Delete("disclosure")
	}
	m := &manifest{fields: fields, tree: fields.Get("tree").Object(), explain: o.Explain || fields.Get("explainer").Bool()}
	for name, entry := range fields.Get("initialize").Object().Get("plugins").Object().All() {
		m.declarations = append(m.declarations, declaration(name, entry.Object()))
	}
	if a := fields.Get("aggregation").Object(); a != nil {
		kind := a.Get("type").Str()
		m.aggregation = &aggregation{
			metrics:    texts(a.Get("metrics")),
			time:       kind == "time" || kind == "horizontal" || kind == "both",
			components: kind == "component" || kind == "vertical" || kind == "both",
			skip:       texts(a.Get("skip-components")),
		}
	}
	return m, nil
}

func texts(v value.Value) []string {
	var out []string
	for _, item := range v.Items() {
		out = append(out, item.Str())
	}
	return out
}

func declaration(name string, o *value.Object) *plugin.Declaration {
	d := &plugin.Declaration{
		Name: name, Path: o.Get("path").Str(), Method: o.Get("method").Str(),
		Mapping: o.Get("mapping").Object(), Config: o.Get("config").Object(),
	}
	metadata := o.Get("parameter-metadata").Object()
	d.Metadata.Inputs, d.HasInputs = parameters(metadata.Get("inputs"))
	d.Metadata.Outputs, d.HasOutputs = parameters(metadata.Get("outputs"))
	return d
}

func parameters(v value.Value) ([]plugin.Parameter, bool) {
	o := v.Object()
	if o == nil {
		return nil, false
	}
	out := make([]plugin.Parameter, 0, o.Len())
	for name, entry := range o.All() {
		p := entry.Object()
		methods := p.Get("aggregation-method").Object()
		out = append(out, plugin.Parameter{
			Name: name, Unit: p.Get("unit").Str(), Description: p.Get("description").Str(),
			Time:      plugin.Aggregation(methods.Get("time").Str()),
			Component: plugin.Aggregation(methods.Get("component").Str()),
		})
	}
	return out, true
}
