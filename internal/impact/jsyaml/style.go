package jsyaml

import (
	"strings"
	"unicode/utf8"
)

// appendString appends s in the style that js-yaml chooses for it. level is
// the nesting of the node, isKey that of a key, which must stay on one line.
func appendString(dst []byte, s string, level int, isKey bool) []byte {
	if quickPlain(s) {
		return append(dst, s...)
	}
	switch {
	case s == "":
		return append(dst, "''"...)
	case isOldWord(s) || isBase60(s):
		return append(append(append(dst, '\''), s...), '\'')
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	indent := 2 * max(1, level)
	width := max(40, 80-indent)
	switch chooseStyle(s, isKey, width) {
	case plainStyle:
		return append(dst, s...)
	case singleStyle:
		return appendSingle(dst, s)
	case literalStyle:
		return appendBlock(append(dst, '|'), s, s, indent)
	case foldedStyle:
		return appendBlock(append(dst, '>'), s, fold(s, width), indent)
	default:
		return appendDouble(dst, s)
	}
}

// quickPlain reports whether s is for certain written as it is: it is short,
// made of harmless characters and begins with a letter, without being a word
// that some version of YAML knows.
func quickPlain(s string) bool {
	if len(s) > 40 || s == "" || classes[s[0]]&keyFirst == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if classes[s[i]]&keyByte == 0 && s[i] != ' ' {
			return false
		}
	}
	return s[len(s)-1] != ' ' && !isWord(s) && !isOldWord(s)
}

// isOldWord tells the booleans of YAML 1.1.
func isOldWord(s string) bool {
	switch s {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return true
	}
	return false
}

// isBase60 tells the base 60 numbers of YAML 1.1, such as 1:30.
func isBase60(s string) bool {
	if s[0] == '-' || s[0] == '+' {
		s = s[1:]
	}
	digits, colons, i := 0, 0, 0
	for ; i < len(s) && s[i] != '.'; i++ {
		switch {
		case isDigit(s[i]) || s[i] == '_':
			digits++
		case s[i] == ':' && digits > 0:
			colons++
			digits = 0
		default:
			return false
		}
	}
	for i++; i < len(s); i++ {
		if !isDigit(s[i]) && s[i] != '_' {
			return false
		}
	}
	return digits > 0 && colons > 0
}

type style uint8

const (
	plainStyle style = iota
	singleStyle
	doubleStyle
	literalStyle
	foldedStyle
)

// chooseStyle takes the simplest style that keeps s. Unless s must stay on one
// line, line breaks and lines wider than width call for block styles.
func chooseStyle(s string, oneLine bool, width int) style {
	first, _ := utf8.DecodeRuneInString(s)
	plain := plainFirst(first) && s[len(s)-1] != ' ' && s[len(s)-1] != ':'
	lines, wide := false, false
	column, lineStart := 0, 0
	before := rune(-1)
	for i, r := range s {
		if r == '\n' && !oneLine {
			wide = wide || column > width && s[lineStart] != ' '
			lines, column, lineStart = true, 0, i+1
			continue
		}
		if !printable(r) {
			return doubleStyle
		}
		column++
		if r > 0xffff {
			column++
		}
		plain = plain && plainAfter(before, r)
		before = r
	}
	wide = wide || column > width && s[lineStart] != ' '
	switch {
	case oneLine, !lines && !wide:
		if _, special := resolve(s); plain && !special && s != "<<" {
			return plainStyle
		}
		return singleStyle
	case wide:
		return foldedStyle
	}
	return literalStyle
}

// printable tells what need not be escaped. js-yaml escapes tabs too.
func printable(r rune) bool {
	return r >= ' ' && r <= '~' ||
		r > 0xa0 && r <= 0xd7ff && r != 0x2028 && r != 0x2029 ||
		r >= 0xe000 && r <= 0xfffd && r != 0xfeff ||
		r >= 0x10000 && r <= 0x10ffff
}

// plainFirst tells what a plain scalar may begin with.
func plainFirst(r rune) bool {
	return printable(r) && (r > '~' || strings.IndexByte(" -?:,[]{}#&*!|=>'\"%@`", byte(r)) < 0)
}

// plainAfter tells whether r may follow before in a plain scalar: a number
// sign only after what is no space, a space not after a colon.
func plainAfter(before, r rune) bool {
	switch {
	case r == '#':
		return before > ' '
	case before == ':':
		return r != ' '
	}
	return true
}

func appendSingle(dst []byte, s string) []byte {
	dst = append(dst, '\'')
	for i := range len(s) {
		if s[i] == '\'' {
			dst = append(dst, '\'')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '\'')
}

func appendDouble(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for _, r := range s {
		i := strings.IndexRune("\x00\a\b\t\n\v\f\r\x1b\"\\\u0085\u00a0\u2028\u2029", r)
		switch {
		case i >= 0:
			letters := "0abtnvfre\"\\N_LP"
			dst = append(dst, '\\', letters[utf8.RuneCountInString("\x00\a\b\t\n\v\f\r\x1b\"\\\u0085\u00a0\u2028\u2029"[:i])])
		case printable(r):
			dst = utf8.AppendRune(dst, r)
		case r <= 0xff:
			dst = append(dst, '\\', 'x', hex[r>>4], hex[r&15])
		default:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
	}
	return append(dst, '"')
}

// appendBlock appends the rest of a block scalar's header, which depends on
// how s begins and ends, and the indented text.
func appendBlock(dst []byte, s, text string, indent int) []byte {
	if strings.HasPrefix(strings.TrimLeft(s, "\n"), " ") {
		dst = append(dst, '2')
	}
	switch {
	case !strings.HasSuffix(s, "\n"):
		dst = append(dst, '-')
	case s == "\n" || strings.HasSuffix(s, "\n\n"):
		dst = append(dst, '+')
	}
	dst = append(dst, '\n')
	for line := range strings.Lines(strings.TrimSuffix(text, "\n")) {
		if line != "\n" {
			dst = appendSpaces(dst, indent)
		}
		dst = append(dst, line...)
	}
	return dst
}

// fold breaks the lines of s at spaces so that they are at most width wide
// where that is possible; lines that begin with a space stay as they are.
func fold(s string, width int) string {
	var b strings.Builder
	first, _, _ := strings.Cut(s, "\n")
	rest := s[len(first):]
	foldLine(&b, first, width)
	deeper := s[0] == '\n' || s[0] == ' '
	for rest != "" {
		text := strings.TrimLeft(rest, "\n")
		b.WriteString(rest[:len(rest)-len(text)])
		line, _, _ := strings.Cut(text, "\n")
		rest = text[len(line):]
		wasDeeper := deeper
		deeper = strings.HasPrefix(line, " ")
		if !wasDeeper && !deeper && line != "" {
			b.WriteByte('\n')
		}
		foldLine(&b, line, width)
	}
	return b.String()
}

// foldLine writes line, broken at single spaces. Widths are in UTF-16 units,
// as ECMAScript counts.
func foldLine(b *strings.Builder, line string, width int) {
	if line == "" || line[0] == ' ' {
		b.WriteString(line)
		return
	}
	type place struct{ at, column int }
	var start, last place // of the line being filled, and its last space
	broken := false
	write := func(to int) {
		if broken {
			b.WriteByte('\n')
		}
		broken = true
		b.WriteString(line[start.at:to])
	}
	column := 0
	for i, r := range line {
		if r == ' ' && i+1 < len(line) && line[i+1] != ' ' {
			next := place{i, column}
			if next.column-start.column > width {
				end := next
				if last.at > start.at {
					end = last
				}
				write(end.at)
				start = place{end.at + 1, end.column + 1}
			}
			last = next
		}
		column++
		if r > 0xffff {
			column++
		}
	}
	if column-start.column > width && last.at > start.at {
		write(last.at)
		start = place{last.at + 1, 0}
	}
	write(len(line))
}

// units returns the length of s in UTF-16 units.
func units(s string) (n int) {
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}
