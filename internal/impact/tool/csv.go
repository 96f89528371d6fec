package tool

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// CSVOptions says what to tabulate.
type CSVOptions struct {
	Params []string // "*" stands for every parameter that some output has
	// Long writes one line for each component, time and parameter.
	Long bool
	// Reference writes columns as the Impact Framework's if-csv does: times in
	// the order in which they are met, values by position whatever their time.
	Reference bool
}

// WriteCSV writes parameters of an output manifest's components over time.
// Wide, each line is a component's parameter and each column a time; long, each
// line is one value. A manifest without outputs is a ManifestValidationError.
func WriteCSV(w io.Writer, manifest value.Value, o CSVOptions) error {
	var nodes []Node
	for n := range Walk(manifest) {
		if len(n.Data.Get("outputs").Items()) > 0 || n.Data.Get("aggregated").Object() != nil {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return fault.New(fault.ManifestValidation, "Manifest outputs are not available!")
	}
	params := expand(nodes, o.Params)
	if !o.Reference {
		if err := known(params, expand(nodes, []string{"*"})); err != nil {
			return err
		}
	}
	out := csv.NewWriter(w)
	if o.Long {
		long(out, nodes, params)
	} else {
		wide(out, nodes, params, o.Reference)
	}
	out.Flush()
	return out.Error()
}

// known refuses parameters that no output has: a table without a value hides a typing error.
func known(params, have []string) error {
	for _, p := range params {
		if p == "timestamp" || slices.Contains(have, p) {
			continue
		}
		hint := ""
		if best := plugin.Closest(p, have); best != "" {
			hint = fmt.Sprintf(": did you mean %s?", best)
		}
		return fmt.Errorf("tabulate %s: no output has it%s; there are %s", p, hint, strings.Join(have, ", "))
	}
	return nil
}

// expand replaces "*" by every parameter of the nodes, in the order in which they are met.
func expand(nodes []Node, params []string) []string {
	var out []string
	for _, p := range params {
		if p != "*" {
			out = append(out, p)
			continue
		}
		seen := map[string]bool{"timestamp": true}
		for _, n := range nodes {
			rows := append(slices.Clone(n.Data.Get("outputs").Items()), n.Data.Get("aggregated"))
			for _, row := range rows {
				o := row.Object()
				if o == nil {
					continue
				}
				for k := range o.All() {
					if !seen[k] && !slices.Contains(params, k) {
						seen[k] = true
						out = append(out, k)
					}
				}
			}
		}
	}
	return out
}

func long(w *csv.Writer, nodes []Node, params []string) {
	record := []string{"path", "timestamp", "duration", "parameter", "value"}
	write(w, record)
	for _, n := range nodes {
		for _, row := range n.Data.Get("outputs").Items() {
			o := row.Object()
			for _, p := range params {
				if v := o.Get(p); v.Kind() != value.Undefined {
					record[0], record[1], record[2], record[3], record[4] = n.Name(), stamp(o), cell(o.Get("duration")), p, cell(v)
					write(w, record)
				}
			}
		}
	}
}

func wide(w *csv.Writer, nodes []Node, params []string, reference bool) {
	times := columns(nodes, reference)
	header := []string{"Path"}
	total := slices.ContainsFunc(nodes, func(n Node) bool {
		return n.Data.Get("aggregated").Object() != nil && (!reference || len(n.Path) == 0)
	})
	if total {
		header = append(header, "Aggregated")
	}
	write(w, append(header, times...))
	at := make(map[string]int, len(times))
	for i, t := range times {
		at[t] = i
	}
	for _, param := range params {
		for _, n := range nodes {
			record := []string{n.Name() + "." + param}
			if sum := n.Data.Get("aggregated").Object(); total || reference && sum != nil {
				record = append(record, cell(sum.Get(param)))
			}
			cells := make([]string, len(times))
			rows := n.Data.Get("outputs").Items()
			for i, row := range rows {
				if !reference {
					i = at[stamp(row.Object())]
				}
				cells[i] = cell(row.Object().Get(param))
			}
			record = append(record, cells...)
			if reference {
				record = record[:min(len(record)-len(times)+len(rows), len(header)+len(times))]
			}
			write(w, record)
		}
	}
}

// write hands a record on; the writer keeps the first error for the end.
func write(w *csv.Writer, record []string) { _ = w.Write(record) }

// columns returns the times that occur. Times that can be read are sorted as
// instants, the others stay behind them as they were met.
func columns(nodes []Node, asMet bool) []string {
	var out []string
	seen := map[string]bool{}
	width := 0
	for _, n := range nodes {
		rows := n.Data.Get("outputs").Items()
		width = max(width, len(rows))
		for _, row := range rows {
			if t := stamp(row.Object()); !seen[t] {
				seen[t] = true
				out = append(out, t)
			}
		}
	}
	if asMet {
		for len(out) < width { // times that repeat within a component
			out = append(out, "")
		}
		return out
	}
	slices.SortStableFunc(out, func(a, b string) int {
		s, errA := time.Parse(time.RFC3339Nano, a)
		t, errB := time.Parse(time.RFC3339Nano, b)
		switch {
		case errA == nil && errB == nil:
			return s.Compare(t)
		case errA == nil:
			return -1
		case errB == nil:
			return 1
		}
		return 0
	})
	return out
}

func stamp(row *value.Object) string { return cell(row.Get("timestamp")) }

// cell writes one value: nothing for null, 1 and nothing for booleans as
// spreadsheets expect, JSON for lists and maps.
func cell(v value.Value) string {
	switch v.Kind() {
	case value.Undefined, value.Null:
		return ""
	case value.Bool:
		if v.Bool() {
			return "1"
		}
		return ""
	case value.Number, value.String:
	case value.Date:
		return v.ISO()
	case value.Array, value.Map:
		return string(jsyaml.AppendJSON(nil, v))
	}
	return v.String()
}
