package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Reasons and remedies begin below each other, however long a name is.
func TestVerdictsStandInColumns(t *testing.T) {
	words := strings.Repeat("word ", 40)
	for _, c := range []struct {
		name    string
		columns int
		reason  int // where it begins
	}{
		{"pue", 80, 24},
		{"watt_time", 80, 24},
		{"prometheus", 80, 25},
		{"electricitymaps", 80, 30},
		{"electricitymaps", 120, 30},
	} {
		p := page{columns: c.columns}
		p.verdicts("heading", []verdict{
			{Name: "zone", Status: "works", Reason: "reason " + words, Chosen: true},
			{Name: c.name, Status: "cannot tell", Reason: "reason", Remedy: "remedy " + words},
		})
		reasons := 0
		for line := range strings.Lines(string(p.text)) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > c.columns {
				t.Errorf("%s: a line of %d columns, not %d: %s", c.name, n, c.columns, line)
			}
			if at := strings.Index(line, "reason"); at >= 0 {
				if reasons++; at != c.reason {
					t.Errorf("%s: a reason begins at %d, want %d: %s", c.name, at, c.reason, line)
				}
			}
			if at := strings.Index(line, "> remedy"); at >= 0 && at != c.reason {
				t.Errorf("%s: the remedy begins at %d, want %d", c.name, at, c.reason)
			}
			if text := strings.TrimLeft(line, " "); strings.HasPrefix(text, "word") && len(line)-len(text) != c.reason && len(line)-len(text) != c.reason+2 {
				t.Errorf("%s: a line goes on at %d, want %d: %s", c.name, len(line)-len(text), c.reason, line)
			}
		}
		if reasons != 2 {
			t.Errorf("%s: %d reasons:\n%s", c.name, reasons, p.text)
		}
	}
}
