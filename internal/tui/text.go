package tui

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"noether/internal/unit"
)

// harmless returns s without anything that could move a cursor, change the
// order of letters, or hide: each such rune is one replacement character. At
// most most runes of it are looked at.
func harmless(s string, most int) string {
	var b strings.Builder
	marks := maxMarks // none may come first
	for _, r := range s {
		if most--; most < 0 {
			b.WriteRune('…')
			break
		}
		switch {
		case r == ' ':
			marks = maxMarks
		case unicode.Is(unicode.Zs, r):
			r, marks = ' ', maxMarks
		case unicode.In(r, unicode.Mn, unicode.Me):
			// Terminals differ about selectors, and a tower of marks is no letter.
			if marks++; marks > maxMarks || r == 0x034f || r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 {
				r = utf8.RuneError
			}
		case !unicode.IsGraphic(r), joins(r):
			r, marks = utf8.RuneError, maxMarks
		default:
			marks = 0
		}
		b.WriteRune(r)
	}
	return b.String()
}

// maxMarks is how many combining marks a letter may have.
const maxMarks = 3

// joins tells whether r is graphic but would make one cell of several, or none:
// flags, skin colours, fillers (UAX #29, UAX #11).
func joins(r rune) bool {
	return r >= 0x1f1e6 && r <= 0x1f1ff || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0x1100 && r <= 0x11ff || r == 0x3164 || r == 0xffa0
}

// fit cuts s, which is harmless, to a width in cells.
func fit(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return ansi.Truncate(s, width, "…")
}

// right puts s at the right end of a width.
func right(s string, width int) string {
	return strings.Repeat(" ", max(width-ansi.StringWidth(s), 0)) + fit(s, width)
}

func left(s string, width int) string {
	s = fit(s, width)
	return s + strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
}

// flow joins parts into lines of a width, cutting only what is longer than one.
func flow(width int, parts ...string) (lines []string) {
	const between = " · "
	line := ""
	for _, p := range parts {
		switch {
		case p == "":
		case line == "":
			line = p
		case ansi.StringWidth(line)+ansi.StringWidth(between)+ansi.StringWidth(p) <= width:
			line += between + p
		default:
			lines = append(lines, fit(line, width))
			line = p
		}
	}
	if line != "" {
		lines = append(lines, fit(line, width))
	}
	return lines
}

// about marks an estimate.
func about(figure string, estimated bool) string {
	if estimated && figure[0] != '<' {
		return "~" + figure
	}
	return figure
}

// digits returns v with as many digits as mean something. What is too small to
// show is not shown as 0.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 0.001:
		return "<0.001"
	case a < 10:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case a < 100:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 10_000:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

// prefixed returns v with the prefix (SI brochure, table 7) that keeps it short.
func prefixed(v float64) (figure, prefix string) {
	prefixes := []string{"", "k", "M", "G", "T"}
	for len(prefixes) > 1 && math.Abs(v) >= 10_000 {
		v, prefixes = v/1000, prefixes[1:]
	}
	return digits(v), prefixes[0]
}

func joulesText(e unit.Energy) string {
	figure, prefix := prefixed(e.Joules())
	return figure + " " + prefix + "J"
}

// power returns e over d in watts, even where it is less than a microwatt.
func power(e unit.Energy, d time.Duration) float64 { return e.Joules() / d.Seconds() }

// perHour is the factor from a period to an hour.
func perHour(d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(time.Hour) / float64(d)
}

func percent(part, of float64) string {
	if of <= 0 {
		return "-"
	}
	return strconv.FormatFloat(100*part/of, 'f', 1, 64) + "%"
}

// spark draws values from 0 to their largest as blocks, one cell each.
func spark(values []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case v <= 0 || most <= 0:
			b.WriteRune(' ')
		default:
			b.WriteRune(blocks[min(int(v/most*float64(len(blocks))), len(blocks)-1)])
		}
	}
	return b.String()
}
