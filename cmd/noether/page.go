package main

import (
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// page is plain text for people, wrapped to a width.
type page struct {
	columns int
	text    []byte
}

// width returns the columns of the terminal that standard output is, kept to
// what reads well, and 100 when it is none.
func width(p *process) int {
	f, ok := p.stdout.(*os.File)
	if !ok {
		return 100
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 100
	}
	return min(max(int(size.Col), 80), 120)
}

func (t *page) line(s string) {
	t.text = append(t.text, strings.TrimRight(s, " ")...)
	t.text = append(t.text, '\n')
}

func (t *page) blank() { t.line("") }

func (t *page) heading(s string) { t.line(s) }

// Columns of a row: a mark, a name, then text.
const (
	markWidth   = 2
	nameWidth   = 10 // at least
	statusWidth = 12
)

// row prints a name and a text, which continues below itself.
func (t *page) row(name, text string) {
	t.wrapFrom("  "+pad(name, nameWidth), markWidth+nameWidth, text)
}

// verdicts prints one row for each part and, below it, what mends it.
func (t *page) verdicts(heading string, list []verdict) {
	t.heading(heading)
	names := nameWidth
	for _, v := range list {
		names = max(names, utf8.RuneCountInString(v.Name)+1)
	}
	column := markWidth + names + statusWidth
	for _, v := range list {
		mark := ""
		if v.Chosen {
			mark = "*"
		}
		t.wrapFrom(pad(mark, markWidth)+pad(v.Name, names)+pad(v.Status, statusWidth), column, v.Reason)
		if v.Remedy != "" {
			at := strings.Repeat(" ", column)
			for i, line := range strings.Split(v.Remedy, "\n") {
				lead := at + "  "
				if i == 0 {
					lead = at + "> "
				}
				t.wrapFrom(lead, utf8.RuneCountInString(lead), line)
			}
		}
	}
	if slices.ContainsFunc(list, func(v verdict) bool { return v.Chosen }) {
		t.line("  (* the agent would use it)")
	}
	t.blank()
}

func (t *page) wrap(lead, text string) { t.wrapFrom(lead, len(lead)+2, text) }

// wrapFrom prints text behind lead; further lines begin at a column. Words
// that are longer than a line stay whole: they are paths and commands.
func (t *page) wrapFrom(lead string, column int, text string) {
	line, empty := lead, true
	for word := range strings.FieldsSeq(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > t.columns {
			t.line(line)
			line, empty = strings.Repeat(" ", column), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	t.line(line)
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 1))
}

func joined(list []string) string { return strings.Join(list, ", ") }
