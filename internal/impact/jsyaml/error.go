package jsyaml

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"noether/internal/impact/fault"
)

// mark is a place in the source.
type mark struct {
	pos, line, start int // start is where the line begins
}

// syntaxError returns an error that says what is wrong, in which line and
// column (from 1), and shows up to three lines before and two after.
func syntaxError(src string, m mark, message string) *fault.Error {
	var b strings.Builder
	b.WriteString(message)
	b.WriteString(" (")
	b.WriteString(strconv.Itoa(m.line + 1))
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(utf8.RuneCountInString(src[m.start:m.pos]) + 1))
	b.WriteString(")\n")
	snippet(&b, src, m)
	return &fault.Error{Class: fault.YAML, Message: b.String()}
}

// lineWidth is the width of a snippet with its line numbers.
const lineWidth = 79

func snippet(b *strings.Builder, src string, m mark) {
	starts := []int{m.start}
	for len(starts) <= 3 && starts[0] > 0 {
		starts = append([]int{lineBefore(src, starts[0])}, starts...)
	}
	before := len(starts) - 1
	for next := m.start; len(starts) <= before+2; {
		next = lineAfter(src, next)
		if next >= len(src) {
			break
		}
		starts = append(starts, next)
	}
	digits := len(strconv.Itoa(m.line + len(starts) - before))
	for i, start := range starts {
		number := strconv.Itoa(m.line - before + i + 1)
		b.WriteString("\n ")
		b.WriteString(strings.Repeat(" ", digits-len(number)))
		b.WriteString(number)
		b.WriteString(" | ")
		text, column := excerpt(lineText(src, start), m.pos-m.start, lineWidth-digits-4)
		b.WriteString(text)
		if i == before {
			b.WriteString("\n")
			b.WriteString(strings.Repeat("-", digits+4+column))
			b.WriteByte('^')
		}
	}
}

// excerpt cuts the part of line around the byte at that fits into width
// characters, and returns it with the column of at in it.
func excerpt(line string, at, width int) (text string, column int) {
	const more, less = " ... ", " ..."
	at = min(at, len(line))
	half := width/2 - 1
	head, tail := "", ""
	from, to := 0, len(line)
	if utf8.RuneCountInString(line[:at]) > half {
		head = more
		for from = at; utf8.RuneCountInString(line[from:at]) < half-len(more); {
			_, size := utf8.DecodeLastRuneInString(line[:from])
			from -= size
		}
	}
	if utf8.RuneCountInString(line[at:]) > half {
		tail = less
		for to = at; utf8.RuneCountInString(line[at:to]) < half-len(less); {
			_, size := utf8.DecodeRuneInString(line[to:])
			to += size
		}
	}
	column = len(head) + utf8.RuneCountInString(line[from:at])
	return head + strings.Map(visible, line[from:to]) + tail, column
}

// visible keeps terminals from acting on what a broken file holds.
func visible(r rune) rune {
	switch {
	case r == '\t':
		return '→'
	case !printable(r):
		return '?'
	}
	return r
}

func lineText(src string, start int) string {
	if n := strings.IndexAny(src[start:], "\r\n"); n >= 0 {
		return src[start : start+n]
	}
	return src[start:]
}

// lineBefore returns the start of the line before the one that starts at start > 0.
func lineBefore(src string, start int) int {
	end := start - 1
	if end > 0 && src[end] == '\n' && src[end-1] == '\r' {
		end--
	}
	return strings.LastIndexAny(src[:end], "\r\n") + 1
}

// lineAfter returns the start of the line after the one that starts at start.
func lineAfter(src string, start int) int {
	i := start + len(lineText(src, start))
	if strings.HasPrefix(src[i:], "\r\n") {
		i++
	}
	return min(i+1, len(src))
}
