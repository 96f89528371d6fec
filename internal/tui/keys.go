package tui

import (
	"bytes"
	"unicode/utf8"
)

// Key is a key that was pressed: its name, or the letter it typed.
type Key string

// Keys returns the keys that a terminal sent (ECMA-48, xterm's "Control
// Sequences"), and what is the beginning of another one.
func Keys(input []byte) (keys []Key, rest []byte) {
	for len(input) > 0 {
		if input[0] == escape {
			key, size := sequence(input)
			if key != "" {
				keys = append(keys, key)
			}
			input = input[size:]
			continue
		}
		if !utf8.FullRune(input) {
			return keys, input
		}
		r, size := utf8.DecodeRune(input)
		if key := plain(r); key != "" {
			keys = append(keys, key)
		}
		input = input[size:]
	}
	return keys, nil
}

const escape = 0x1b

func plain(r rune) Key {
	switch r {
	case '\r', '\n':
		return "enter"
	case '\t':
		return "tab"
	case 0x7f, '\b':
		return "backspace"
	case 0x03:
		return "ctrl+c"
	case 0x0c:
		return "ctrl+l"
	case 0x15:
		return "ctrl+u"
	case utf8.RuneError:
		return ""
	}
	if r < ' ' || r >= 0x80 && r < 0xa0 {
		return ""
	}
	return Key(r)
}

// sequence returns the key of an escape sequence, "" if it is none of ours, and
// how long it is. The key Esc alone is one that nothing follows.
func sequence(input []byte) (key Key, size int) {
	if len(input) == 1 {
		return "esc", 1
	}
	if input[1] != '[' && input[1] != 'O' {
		return "esc", 1
	}
	end := bytes.IndexFunc(input[2:], func(r rune) bool { return r < '0' || r > '?' })
	if end < 0 {
		return "", len(input)
	}
	size = end + 3
	switch final := input[end+2]; {
	case final == '~':
		switch string(input[2 : end+2]) {
		case "1", "7":
			key = "home"
		case "4", "8":
			key = "end"
		case "5":
			key = "pgup"
		case "6":
			key = "pgdown"
		}
	case final >= 0x40 && final < 0x7f:
		key = map[byte]Key{'A': "up", 'B': "down", 'C': "right", 'D': "left", 'H': "home", 'F': "end", 'Z': "shift+tab"}[final]
	}
	return key, size
}
