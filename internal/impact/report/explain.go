package report

import (
	"fmt"
	"io"
	"strings"

	"noether/internal/impact"
	"noether/internal/impact/value"
)

// Explain writes where a number comes from, the number first: for each step
// its formula, the values that went in with their units, and the source. What
// the manifest gives has no step of its own: it is said where it goes in.
func Explain(w io.Writer, e *impact.Explanation) error {
	given := map[string]string{}
	for i := range e.Steps {
		switch s := &e.Steps[i]; s.Origin {
		case impact.FromInputs, impact.FromDefaults:
			given[s.Path] = ", given in the " + string(s.Origin)
		case impact.FromOutside:
			given[s.Path] = ", " + origin(s)
		default:
		}
	}
	var b strings.Builder
	for i := range e.Steps {
		s := &e.Steps[i]
		if i > 0 {
			if given[s.Path] != "" {
				continue
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s = %s\n  %s\n", s.Path, quantity(s.Value, s.Unit), origin(s))
		if s.Formula != "" {
			fmt.Fprintf(&b, "  formula: %s\n", s.Formula)
		}
		if s.Source != "" {
			fmt.Fprintf(&b, "  source: %s\n", s.Source)
		}
		for _, in := range s.Inputs {
			fmt.Fprintf(&b, "  from %s = %s%s\n", in.Path, quantity(in.Value, in.Unit), given[in.Path])
		}
		if s.More > 0 {
			fmt.Fprintf(&b, "  and from %d more\n", s.More)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func quantity(v value.Value, unit string) string {
	s := text(v)
	if v.Kind() == value.Undefined {
		s = "nothing"
	}
	if unit == "" {
		return s
	}
	return s + " " + unit
}

// origin says in words where the value of a step comes from.
func origin(s *impact.ExplainedStep) string {
	switch s.Origin {
	case impact.FromPlugin:
		return fmt.Sprintf("made by %s (%s)", s.Plugin, s.Method)
	case impact.FromInputs:
		return "given in the inputs of the manifest"
	case impact.FromDefaults:
		return "given in the defaults of the manifest"
	case impact.FromTime:
		return "folded over the observations of the component"
	case impact.FromComponents:
		return "folded over the components below"
	case impact.FromPeriod:
		return "of the whole period"
	case impact.FromOutside:
		if s.Plugin != "" {
			return fmt.Sprintf("set by %s (%s), which gives no formula", s.Plugin, s.Method)
		}
		return "set by a plugin, which gives no formula"
	}
	return string(s.Origin)
}
