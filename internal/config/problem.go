package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with the settings, and what to do about it.
type Problem struct {
	Source string // "--interval", "NOETHER_INTERVAL", a file's name; empty between settings
	Line   int    // in the file, 0 elsewhere
	Column int    // in the file, 0 when only the line is known
	Name   string // the setting or key
	Value  string // what was said, may be empty
	Text   string // what is wrong and what to do
}

// String returns the problem on one line: place, name, value, reason.
func (p Problem) String() string {
	var b strings.Builder
	if p.Source != "" {
		b.WriteString(p.Source)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
		b.WriteString(": ")
	}
	// A flag and a variable already say the name.
	if p.Name != "" && (p.Source == "" || p.Line > 0) {
		b.WriteString(p.Name)
		b.WriteByte(' ')
	}
	if p.Value != "" {
		b.WriteString(strconv.Quote(clip(hide(p.Value))))
		b.WriteByte(' ')
	}
	b.WriteString(p.Text)
	return b.String()
}

// hide takes the credentials out of an address that should not have had any.
func hide(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return s
	}
	return scheme + "://***" + rest[at:]
}

// clip bounds what a message repeats of a user's text.
func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "…"
}

// Error is everything that is wrong with the settings, at least one problem.
type Error struct {
	Problems []Problem
}

// Error returns one problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// nearest returns the known word closest to word, or "" when none is close.
func nearest(word string, known []string) string {
	best, least := "", max(1, (len(word)+1)/3)+1
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance (optimal string alignment) of a and b.
func distance(a, b string) int {
	if len(a) > 64 {
		a = a[:64]
	}
	var before []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur := make([]int, len(b)+1)
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, cur
	}
	return prev[len(b)]
}

func didYouMean(word string, known []string) string {
	if n := nearest(word, known); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	return ""
}
