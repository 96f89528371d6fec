package export

import (
	"hash/fnv"
	"strconv"
	"unicode/utf8"
)

// MaxLabel is the length in bytes up to which a label's value is kept whole.
// The longest that the kernel and Kubernetes allow in a name is 255.
const MaxLabel = 512

// Clean returns value as it may stand in a label: valid UTF-8, at most
// MaxLabel bytes, without control characters other than newline. Bytes that
// are neither become \xNN, so that different names stay different; so does the
// hash that ends a shortened value. Only values that need it are copied.
func Clean(value string) (string, Form) {
	if len(value) <= MaxLabel {
		if isPlain(value) {
			return value, Plain
		}
		if isText(value) {
			return value, Text
		}
	}
	dst := make([]byte, 0, min(len(value), MaxLabel)+16)
	for i := 0; i < len(value); {
		mark := len(dst)
		r, size := utf8.DecodeRuneInString(value[i:])
		switch {
		case r == utf8.RuneError && size == 1, isControl(r):
			for j := range size {
				dst = appendHex(dst, value[i+j])
			}
		default:
			dst = append(dst, value[i:i+size]...)
		}
		if i += size; len(dst) > MaxLabel-len("~0123456789abcdef") && i < len(value) {
			h := fnv.New64a()
			_, _ = h.Write([]byte(value))
			dst = append(dst[:mark], '~')
			return string(strconv.AppendUint(dst, h.Sum64(), 16)), Text
		}
	}
	return string(dst), Text
}

func isPlain(s string) bool {
	// Eight bytes at a time: container ids are most of what a page is made of.
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// In each byte the top bit of a difference is set if it is below space,
		// or was zero after the exclusive or; x itself has it from 0x80 on, and
		// x+1 at 0x7f. A borrow can only add a doubt, which the loop below settles.
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		if (x|(x-ones*' ')|(x+ones)|(quote-ones)|(slash-ones))&tops != 0 {
			break
		}
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func isText(s string) bool {
	for _, r := range s {
		if isControl(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// isControl tells whether r is a control character (C0, DEL, C1) other than newline.
func isControl(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0
}

func appendHex(dst []byte, b byte) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'x', digits[b>>4], digits[b&15])
}
