package promwrite

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// text returns families in the text format 0.0.4, without times: what reads
// such a page gives the samples a time of its own.
func text(families []Family) ([]byte, error) {
	var dst []byte
	for _, f := range families {
		if len(f.Series) == 0 {
			continue
		}
		dst = append(dst, "# HELP "...)
		dst = append(dst, f.Name...)
		dst = append(dst, ' ')
		dst = escape(dst, f.Help, false)
		dst = append(dst, "\n# TYPE "...)
		dst = append(dst, f.Name...)
		dst = append(dst, ' ')
		dst = append(dst, f.Type.String()...)
		dst = append(dst, '\n')
		for i := range f.Series {
			s := &f.Series[i]
			if len(s.Samples) != 1 {
				return nil, fmt.Errorf("write series %s: %w", s.text(f.Name), errOneSample)
			}
			dst = s.append(append(dst, f.Name...))
			dst = append(dst, ' ')
			dst = appendValue(dst, s.Samples[0].Value)
			dst = append(dst, '\n')
		}
	}
	return dst, nil
}

var errOneSample = errors.New("text without times holds one sample of a series: use remote-write for several")

// append appends the labels in braces, nothing where there are none.
func (s *Series) append(dst []byte) []byte {
	for i, l := range s.Labels {
		if i == 0 {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, l.Name...)
		dst = append(dst, `="`...)
		dst = escape(dst, l.Value, true)
		dst = append(dst, '"')
	}
	if len(s.Labels) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

func appendValue(dst []byte, v float64) []byte {
	switch {
	case v != v:
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "+Inf"...)
	case math.IsInf(v, -1):
		return append(dst, "-Inf"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

func escape(dst []byte, s string, quotes bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '"' && quotes:
			dst = append(dst, `\"`...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
