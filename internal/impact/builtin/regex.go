package builtin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dlclark/regexp2"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// matchTimeout bounds one match: a pattern that backtracks without end fails
// the run instead of hanging it.
const matchTimeout = 2 * time.Second

func regex() plugin.Method {
	return plugin.Method{
		Name:    "Regex",
		Paths:   []string{"@grnsft/if-plugins"},
		Summary: "Takes a part of a text by a regular expression.",
		Doc: `Matches the text of a parameter with a regular expression (ECMAScript's syntax) and writes what matched to another
parameter. ` + "`match`" + ` is a pattern, or a literal between slashes with flags (` + "`g i m s u`" + `). Without ` + "`g`" + ` the
result is the whole match and then its groups, joined with spaces; with ` + "`g`" + ` it is all matches joined with spaces. No
match is an error. A match that takes longer than two seconds is given up.`,
		Example: `path: builtin
method: Regex
config:
  parameter: physical-processor
  match: /^[^,]+/
  output: cpu/name`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "parameter", Type: schema.NonEmpty(), Doc: "Parameter whose text is matched."},
			{Name: "match", Type: schema.NonEmpty(), Doc: "Regular expression, with or without slashes and flags."},
			{Name: "output", Type: schema.Text(), Doc: "Parameter that takes the match."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			in := config.Get("parameter").Str()
			return plugin.Formula{Text: "part of " + in + " that matches " + config.Get("match").Str(), Inputs: []string{in}}, out == config.Get("output").Str()
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			var compiled matchers
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				CheckRows: func(c *plugin.Call) error {
					in := value.Field{Name: c.Config.Get("parameter").Str()}
					for _, row := range c.Rows {
						if !in.Get(row).Truthy() {
							return fault.New(fault.MissingInputData, "%s is missing from the input array, or has nullish value.", in.Name)
						}
					}
					return nil
				},
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) { return matchRows(c, &compiled) },
			}), nil
		},
	}
}

// matchers remembers the last compiled pattern. Its zero value is ready for use
// by many goroutines.
type matchers struct {
	mu   sync.Mutex
	text string
	m    *matcher
}

func (s *matchers) get(text string, d *plugin.Dialect) (*matcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m != nil && s.text == text {
		return s.m, nil
	}
	m, err := newMatcher(text, d.RegexFlags)
	if err == nil {
		s.text, s.m = text, m
	}
	return m, err
}

func matchRows(c *plugin.Call, compiled *matchers) ([]*value.Object, error) {
	in, out := c.Config.Get("parameter").Str(), c.Config.Get("output").Str()
	for i, row := range c.Rows {
		v := row.Get(in)
		if !v.IsString() {
			return nil, fault.New(fault.Type, "Matching `%s` of observation %d: it is of type %s and not a string; quote it", in, i, v.Kind())
		}
		m, err := compiled.get(c.Config.Get("match").Str(), &c.Env.Dialect)
		if err != nil {
			return nil, err
		}
		found, ok, err := m.match(v.Str())
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, fault.New(fault.RegexMismatch, "`%s` does not match the %s regex expression", v.Str(), m.literal)
		}
		row.Set(out, value.Text(found))
	}
	return c.Rows, nil
}

// matcher is a compiled regular expression. Safe for concurrent use.
type matcher struct {
	re      *regexp2.Regexp
	literal string // between slashes, for messages
	global  bool
}

// match returns the match and its groups, or with the flag g all matches,
// joined with spaces.
func (m *matcher) match(s string) (string, bool, error) {
	found, err := m.re.FindStringMatch(s)
	if err != nil {
		return "", false, m.failed(err)
	}
	if found == nil {
		return "", false, nil
	}
	var parts []string
	if m.global {
		for found != nil {
			parts = append(parts, found.String())
			if found, err = m.re.FindNextMatch(found); err != nil {
				return "", false, m.failed(err)
			}
		}
		return strings.Join(parts, " "), true, nil
	}
	for _, g := range found.Groups() {
		text := ""
		if len(g.Captures) > 0 {
			text = g.String()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " "), true, nil
}

func (m *matcher) failed(err error) error {
	return &fault.Error{Class: fault.Range, Message: fmt.Sprintf("Matching with %s: no answer within %s; write the expression so that it backtracks less", m.literal, matchTimeout), Cause: err}
}

// newMatcher compiles the text of a manifest. The reference puts slashes around
// it and evaluates that as a program: what is a regular expression literal with
// no flag or g works, everything else throws. With flags on, a text that is a
// literal between slashes is one with its flags, and any other is a pattern as
// it stands.
func newMatcher(text string, flags bool) (*matcher, error) {
	body, suffix, isLiteral := splitLiteral(text)
	switch {
	case flags && isLiteral:
	case flags:
		body, suffix = text, ""
	default:
		wrapped := text
		if !strings.HasPrefix(wrapped, "/") {
			wrapped = "/" + wrapped
		}
		if !strings.HasSuffix(wrapped, "/") && !strings.HasSuffix(wrapped, "/g") {
			wrapped += "/"
		}
		if isComment(wrapped) { // evaluated it is undefined, which matches like the empty pattern
			return &matcher{re: regexp2.MustCompile("", regexp2.ECMAScript), literal: wrapped}, nil
		}
		if body, suffix, isLiteral = splitLiteral(wrapped); !isLiteral || suffix != "" && suffix != "g" {
			return nil, fault.New(fault.Syntax, "Reading regular expression %s: it is no literal of the form /pattern/ or /pattern/g", wrapped)
		}
	}
	m := &matcher{literal: "/" + body + "/" + suffix, global: strings.Contains(suffix, "g")}
	pattern, err := translate(body, suffix)
	if err != nil {
		return nil, fault.New(fault.Syntax, "Invalid regular expression: /%s/: %w", body, err)
	}
	options := regexp2.RegexOptions(regexp2.ECMAScript)
	if strings.Contains(suffix, "i") {
		options |= regexp2.IgnoreCase
	}
	if m.re, err = regexp2.Compile(pattern, options); err != nil {
		return nil, fault.New(fault.Syntax, "Invalid regular expression: /%s/: %w", body, errors.Unwrap(err))
	}
	m.re.MatchTimeout = matchTimeout
	return m, nil
}

// isComment reports whether a program that begins with a slash is one comment.
func isComment(s string) bool {
	if strings.HasPrefix(s, "//") {
		return !strings.ContainsAny(s, lineTerminators)
	}
	end := strings.Index(s[min(2, len(s)):], "*/")
	return strings.HasPrefix(s, "/*") && end >= 0 && end == len(s)-4
}
