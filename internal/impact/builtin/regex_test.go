package builtin

import (
	"strings"
	"testing"
	"time"

	"noether/internal/impact/plugin"
)

func TestRegex(t *testing.T) {
	tests := []struct{ match, text, reference, flags string }{
		{`b`, "abc", "b", ""},
		{`/b/`, "abc", "b", ""},
		{`/[A-Z][a-z]+/g`, "Intel Xeon AMD Ryzen", "Intel Xeon Ryzen", ""},
		{`^(.*),`, "Intel Xeon,AMD", "Intel Xeon, Intel Xeon", ""},
		{`(a)(x)?`, "abc", "a a ", ""},
		{`/x*/g`, "abc", "   ", ""},
		{`a\/b`, "a/b", "a/b", ""},
		{`[/]`, "a/b", "/", ""},
		{`(?<=a)b`, "abc", "b", ""},
		{`(?<y>b)\k<y>`, "abbc", "bb b", ""},
		{`\1(a)`, "aa", "a a", ""},
		{`\d+\s`, "7\u00a0", "7\u00a0", ""},
		{`\bé`, "é", "!", ""},
		{`a$`, "a\n", "!", ""},
		{`.`, "\u2028", "!", ""},
		{`a{,2}`, "a{,2}", "a{,2}", ""},
		{`[^]`, "abc", "a", ""},
		{`[]`, "abc", "!", ""},
		{`\u{61}`, "a", "!", ""},
		{`//`, "abc", "", "//"},
		{`/x/g`, "abc", "!", ""},
		// Slashes and flags that the reference cannot take.
		{`/INTEL/i`, "Intel", "?", "Intel"},
		{`a/b`, "xa/by", "?", "a/b"},
		{`/^b/m`, "a\nb", "?", "b"},
		{`/a.b/s`, "a\nb", "?", "a\nb"},
		{`/\u{1F600}/u`, "😀", "?", "😀"},
		{`/c/gi`, "cC", "?", "c C"},
		{`/a/,/b/`, "b", "?", "/a/,/b/ as it stands"},
		// What is no regular expression anywhere.
		{`(`, "(", "?", "?"},
		{`*`, "*", "?", "?"},
		{`a**`, "a", "?", "?"},
		{`[b-a]`, "a", "?", "?"},
		{`a{2,1}`, "a", "?", "?"},
		{`(?i)a`, "a", "?", "?"},
		{`(?<a>x)|(?<a>b)`, "b", "?", "?"},
		{`a\`, `a\`, "?", "?"},
	}
	for _, tt := range tests {
		for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
			want := tt.reference
			if d.RegexFlags && tt.flags != "" {
				want = tt.flags
			}
			text := tt.text
			if literal, ok := strings.CutSuffix(want, " as it stands"); ok {
				text, want = "x"+literal+"x", literal
			}
			if want == "//" {
				text = "x//x"
			}
			m, err := newMatcher(tt.match, d.RegexFlags)
			got, ok := "", false
			if err == nil {
				got, ok, err = m.match(text)
			}
			switch {
			case err != nil && !strings.HasPrefix(err.Error(), "SyntaxError: "):
				t.Errorf("%s: %v", tt.match, err)
			case err != nil:
				got = "?"
			case !ok:
				got = "!"
			}
			if got != want {
				t.Errorf("%s on %q with flags %v: %q, want %q (%v)", tt.match, text, d.RegexFlags, got, want, err)
			}
		}
	}
}

func TestRegexRefuses(t *testing.T) {
	tests := []struct{ name, match, input, want string }{
		{"no match", "zzz", "s: abc", "RegexMismatchError: `abc` does not match the /zzz/ regex expression"},
		{"nothing to match", "a", "t: abc", "MissingInputDataError: s is missing from the input array, or has nullish value."},
		{"a number", "a", "s: 5", "TypeError: Matching `s` of observation 0: it is of type number and not a string; quote it"},
		{"no pattern", "(", "s: abc", "SyntaxError: Invalid regular expression: /(/: Unterminated group"},
	}
	for _, tt := range tests {
		got := runYAML(t, testEnv(plugin.Noether()), regex(), "{parameter: s, output: o, match: '"+tt.match+"'}", "[{"+tt.input+"}]", nil)
		if got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestRegexGivesUp(t *testing.T) {
	m, err := newMatcher("(a+)+$", false)
	if err != nil {
		t.Fatal(err)
	}
	m.re.MatchTimeout = 20 * time.Millisecond
	_, _, err = m.match(strings.Repeat("a", 60) + "b")
	if want := "RangeError: Matching with /(a+)+$/: no answer within 2s; write the expression so that it backtracks less"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func FuzzRegex(f *testing.F) {
	for _, s := range []string{"a", "/a/g", "/[/]/", "(?<n>a)\\k<n>", "\\u{61}", "[^\\s-x]{2,}?", "//", "/*", "a|*", "\\c\\x4\\07"} {
		f.Add(s, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 60 || len(text) > 30 {
			t.Skip()
		}
		for _, flags := range []bool{false, true} {
			m, err := newMatcher(pattern, flags)
			if err != nil {
				if !strings.HasPrefix(err.Error(), "SyntaxError: ") {
					t.Errorf("%q: %v", pattern, err)
				}
				continue
			}
			m.re.MatchTimeout = 20 * time.Millisecond
			if _, _, err := m.match(text); err != nil && !strings.HasPrefix(err.Error(), "RangeError: ") {
				t.Errorf("%q on %q: %v", pattern, text, err)
			}
		}
	})
}
