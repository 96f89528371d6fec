package impact

import (
	"noether/internal/impact/fault"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// regroup moves the rows of n into children named by the values of keys. Done
// is false where the rows are grouped already.
func (r *run) regroup(n *node, by value.Value, rows []*value.Object) (done bool, err error) {
	t := schema.Object{Fields: []schema.Field{{Name: "regroup", Type: schema.ArrayOf(schema.Text(), 1), Doc: "Parameters to group by."}}}
	given := value.NewObject(1)
	given.Set("regroup", by)
	if _, issues := t.Parse(given.Value(), nil); issues != nil {
		if by.Kind() != value.Array {
			issues[0].Text = "not an array or should contain at least one key"
		}
		return false, &fault.Error{Class: fault.InputValidation, Message: schema.Message(issues, schema.NoIndex)}
	}
	return false, nil
}
