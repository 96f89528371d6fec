package linux

import (
	"bytes"
	"math"
)

// field returns the text up to the next blank and what follows the blanks.
func field(b []byte) (word, rest []byte) {
	end := 0
	for end < len(b) && b[end] != ' ' && b[end] != '\t' && b[end] != '\n' {
		end++
	}
	rest = b[end:]
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	return b[:end], rest
}

// line returns the text up to the next newline and what follows it. Whole is
// false when the newline is missing.
func line(b []byte) (text, rest []byte, whole bool) {
	return bytes.Cut(b, []byte{'\n'})
}

// ParseUint parses a decimal number that fills b.
func ParseUint(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// uintField parses the number at the beginning of b and returns what follows it.
func uintField(b []byte) (n uint64, rest []byte, ok bool) {
	word, rest := field(b)
	n, ok = ParseUint(word)
	return n, rest, ok
}
