package report

import (
	"fmt"
	"io"
	"strings"

	"noether/internal/impact"
	"noether/internal/impact/value"
)

// Explain writes where a number comes from, the number first: for each step
// its formula, the values that went in with their units, and the source.
func Explain(w io.Writer, e *impact.Explanation) error {
	var b strings.Builder
	for i, s := range e.Steps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s = %s\n", s.Path, quantity(s.Value, s.Unit))
		fmt.Fprintf(&b, "  %s\n", origin(&s))
		if s.Formula != "" {
			fmt.Fprintf(&b, "  formula  %s\n", s.Formula)
		}
		if s.Source != "" {
			fmt.Fprintf(&b, "  source   %s\n", s.Source)
		}
		for _, in := range s.Inputs {
			fmt.Fprintf(&b, "  from     %s = %s\n", in.Path, quantity(in.Value, in.Unit))
		}
		if s.More > 0 {
			fmt.Fprintf(&b, "  and %d more\n", s.More)
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
		return fmt.Sprintf("made by  %s (%s)", s.Plugin, s.Method)
	case impact.FromInputs:
		return "given    in the inputs of the manifest"
	case impact.FromDefaults:
		return "given    in the defaults of the manifest"
	case impact.FromTime:
		return "folded   over the observations of the component"
	case impact.FromComponents:
		return "folded   over the components below"
	case impact.FromPeriod:
		return "score    of the whole period: carbon ÷ functional units (ISO/IEC 21031:2024)"
	case impact.FromOutside:
		if s.Plugin != "" {
			return fmt.Sprintf("read by  %s (%s)", s.Plugin, s.Method)
		}
		return "read     from outside the manifest"
	}
	return string(s.Origin)
}
