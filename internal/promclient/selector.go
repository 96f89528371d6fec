package promclient

import (
	"regexp"
	"strconv"
	"strings"
)

// Matcher is one condition on a label.
type Matcher struct {
	Label string
	Op    string // "=", "!=", "=~" or "!~"; regular expressions are anchored at both ends
	Value string
}

// OneOf matches a label that has one of the values.
func OneOf(label string, values ...string) Matcher {
	if len(values) == 1 {
		return Matcher{label, "=", values[0]}
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return Matcher{label, "=~", strings.Join(quoted, "|")}
}

// Selector writes a selector of PromQL. Values may hold anything: they are
// quoted. Metric is a name, "" for none.
func Selector(metric string, matchers ...Matcher) string {
	var b strings.Builder
	if isName(metric) {
		b.WriteString(metric)
	} else if metric != "" {
		matchers = append([]Matcher{{"__name__", "=", metric}}, matchers...)
	}
	if len(matchers) == 0 {
		return b.String()
	}
	b.WriteByte('{')
	for i, m := range matchers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.Label)
		b.WriteString(m.Op)
		b.WriteString(strconv.Quote(strings.ToValidUTF8(m.Value, "\ufffd")))
	}
	b.WriteByte('}')
	return b.String()
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && c != ':' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// IsSelector reports whether query is a bare selector, name{label="value"},
// the only thing that has raw samples. Some servers silently answer the same
// request for an expression with a subquery.
func IsSelector(query string) bool {
	query = strings.TrimSpace(query)
	brace := strings.IndexByte(query, '{')
	if brace < 0 {
		return isName(query)
	}
	if name := strings.TrimSpace(query[:brace]); name != "" && !isName(name) {
		return false
	}
	quote := byte(0)
	for i := brace + 1; i < len(query); i++ {
		c := query[i]
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"', c == '\'', c == '`':
			quote = c
		case c == '{':
			return false
		case c == '}':
			return i == len(query)-1
		}
	}
	return false
}
