package plugin

import (
	"slices"
	"strings"

	"noether/internal/impact/expr"
	"noether/internal/impact/value"
)

// renaming is one entry of mapping: what the plugin calls key the manifest
// calls mapped.
type renaming struct{ key, mapped string }

// mapConfig returns config with the manifest's names in it and the entries of
// mapping that config does not use. The reference takes the used ones out of
// the manifest's mapping, so that the next node does without.
func (f *framed) mapConfig() (*value.Object, []renaming, error) {
	mapping := f.d.Mapping
	if mapping == nil {
		return f.d.Config, nil, nil
	}
	if f.env.Dialect.MappingEveryNode {
		mapping = mapping.Copy(0)
	}
	config := f.d.Config
	if config != nil {
		m := configMapper{mapping: mapping, dialect: f.env.Dialect}
		config = m.value(config.Value()).Object()
		if m.err != nil {
			return nil, nil, m.err
		}
		for _, key := range m.used {
			mapping.Delete(key)
		}
	}
	rest := make([]renaming, 0, mapping.Len())
	for key, mapped := range mapping.All() {
		rest = append(rest, renaming{key, mapped.String()})
	}
	return config, rest, nil
}

type configMapper struct {
	mapping *value.Object
	dialect Dialect
	used    []string // entries that config used, to be taken out of mapping
	err     error    // the first
}

// value returns v with names mapped. In the reference the entries that one
// level of v used are gone for what comes after that level.
func (m *configMapper) value(v value.Value) value.Value {
	start := len(m.used)
	var mapped value.Value
	switch v.Kind() {
	case value.Map:
		out := value.NewObject(v.Object().Len())
		for key, item := range v.Object().All() {
			if to := m.mapping.Get(key); to.IsString() && !m.dialect.MappingEveryNode {
				key = to.Str()
			}
			out.Set(key, m.item(item))
		}
		mapped = out.Value()
	case value.Array:
		items := make([]value.Value, len(v.Items()))
		for i, item := range v.Items() {
			items[i] = m.item(item)
		}
		mapped = value.List(items)
	default:
		return v
	}
	if !m.dialect.MappingEveryNode {
		for _, key := range m.used[start:] {
			m.mapping.Delete(key)
		}
	}
	return mapped
}

func (m *configMapper) item(v value.Value) value.Value {
	if !v.IsString() {
		return m.value(v)
	}
	s := v.Str()
	if strings.Contains(s, "=") && !m.dialect.FullExpressions {
		name, err := expr.Name(s) // fails on text that looks like arithmetic and is none
		if err != nil && m.err == nil {
			m.err = err
		}
		if err == nil && name.IsString() {
			if to, ok := m.look(name.Str()); ok {
				return value.Text(strings.Replace(s, name.Str(), to, 1))
			}
		}
		return v
	}
	if to, ok := m.look(s); ok {
		return value.Text(to)
	}
	if strings.HasPrefix(s, "=") {
		return value.Text(expr.Rename(s, m.look))
	}
	return v
}

func (m *configMapper) look(name string) (string, bool) {
	to := m.mapping.Get(name)
	if !to.IsString() {
		return "", false
	}
	m.used = append(m.used, name)
	return to.Str(), true
}

// shadow is what mapRows did to one key of one row.
type shadow struct {
	old           value.Value // what the row had below key
	had, replaced bool
}

// mapRows gives each row the plugin's names besides the manifest's. It returns
// what it did, row by row.
func mapRows(rows []*value.Object, mapping []renaming) []shadow {
	if len(mapping) == 0 {
		return nil
	}
	did := make([]shadow, len(rows)*len(mapping))
	for i, row := range rows {
		s := did[i*len(mapping) : (i+1)*len(mapping)]
		// All are read before any is written: two names may be swapped.
		var values []value.Value
		for j, r := range mapping {
			s[j].replaced = row.Has(r.mapped)
			s[j].had = row.Has(r.key)
			s[j].old = row.Get(r.key)
			values = append(values, row.Get(r.mapped))
		}
		for j, r := range mapping {
			if s[j].replaced {
				row.Set(r.key, values[j])
			}
		}
	}
	return did
}

// unmapRows undoes mapRows in the rows that the kernel returned: what the plugin
// calls key goes below mapped, and what the row itself had below key comes back.
// A key that is one of outputs is always of the plugin's making.
func unmapRows(rows, out []*value.Object, mapping []renaming, did []shadow, outputs []Parameter) {
	if len(mapping) == 0 {
		return
	}
	n := len(mapping)
	values := make([]value.Value, n)
	found, made := make([]bool, n), make([]bool, n)
	for j, r := range mapping {
		made[j] = slices.ContainsFunc(outputs, func(p Parameter) bool { return p.Name == r.key })
	}
	for i, row := range out {
		var s []shadow
		if i < len(rows) && rows[i] == row {
			s = did[i*n : (i+1)*n]
		}
		for j, r := range mapping {
			found[j] = row.Has(r.key)
			values[j] = row.Get(r.key)
			if s != nil && s[j].had && !s[j].replaced && !made[j] {
				found[j] = false // the row's own, which the plugin may have used but did not make
			}
		}
		for j, r := range mapping {
			switch {
			case !found[j]:
			case s != nil && s[j].had:
				row.Set(r.key, s[j].old)
			default:
				row.Delete(r.key)
			}
		}
		for j, r := range mapping {
			if found[j] {
				row.Set(r.mapped, values[j])
			}
		}
	}
}

// mergeRows puts the kernel's rows over the input rows of the same number, as
// the reference does: keys that the kernel left out come back. Before holds the
// input rows as they were if there is a mapping; its keys are then renamed in
// what the kernel returned and left out of the input row where the row has the
// mapped one.
func mergeRows(before, rows, out []*value.Object, mapping []renaming, apart bool) []*value.Object {
	if len(mapping) == 0 {
		for i, row := range out {
			if apart || i >= len(rows) || rows[i] == row {
				continue
			}
			merged := rows[i].Copy(row.Len())
			for key, v := range row.All() {
				merged.Set(key, v)
			}
			out[i] = merged
		}
		return out
	}
	to := make(map[string]string, len(mapping))
	for _, r := range mapping {
		to[r.key] = r.mapped
	}
	merged := make([]*value.Object, len(out))
	for i, row := range out {
		base := value.NewObject(row.Len() + 1)
		if i < len(rows) && (!apart || rows[i] == row) {
			for key, v := range before[i].All() {
				if rows[i].Has(key) {
					base.Set(key, v)
				}
			}
			for _, r := range mapping {
				if base.Has(r.mapped) {
					base.Delete(r.key)
				}
			}
		}
		for key, v := range row.All() {
			if mapped, ok := to[key]; ok {
				key = mapped
			}
			base.Set(key, v)
		}
		merged[i] = base
	}
	return merged
}
