package prometheus

import (
	"strconv"
	"strings"

	"noether/internal/export"
	"noether/internal/unit"
)

// Format is one of the two text formats.
type Format uint8

// The formats.
const (
	// Text is the Prometheus text format 0.0.4.
	Text Format = iota
	// OpenMetrics is OpenMetrics 1.0.0.
	OpenMetrics
	formats = iota
)

// ContentType returns the media type of pages in f.
func (f Format) ContentType() string {
	if f == OpenMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// writer renders samples into a buffer, which it passes on to spill whenever
// it holds more than chunk bytes.
type writer struct {
	buf    []byte
	spill  func([]byte)
	last   int      // index of the family whose samples are being written
	header []string // of each family
}

const chunk = 64 << 10

// Sample implements export.Sink.
func (w *writer) Sample(f *export.Family, labels []export.Label, v export.Value) {
	buf := w.buf
	if f.Index != w.last {
		w.last = f.Index
		buf = append(buf, w.header[f.Index]...)
	}
	buf = append(buf, f.Name...)
	sep := byte('{')
	for i := range labels {
		l := &labels[i]
		buf = append(buf, sep)
		buf = append(buf, l.Name...)
		buf = append(buf, '=', '"')
		switch l.Form {
		case export.Plain:
			buf = append(buf, l.Value...)
		case export.Number:
			buf = strconv.AppendUint(buf, l.Number, 10)
		default:
			buf = appendEscaped(buf, l.Value)
		}
		buf = append(buf, '"')
		sep = ','
	}
	if sep == ',' {
		buf = append(buf, '}')
	}
	buf = append(buf, ' ')
	if v.Places == 6 && v.N >= 0 {
		buf = appendMicro(buf, uint64(v.N))
	} else {
		buf = unit.AppendDecimal(buf, v.N, v.Places)
	}
	buf = append(buf, '\n')
	if w.spill != nil && len(buf) >= chunk {
		w.spill(buf)
		buf = buf[:0]
	}
	w.buf = buf
}

// appendMicro is unit.AppendDecimal for six places, which nearly all samples have.
func appendMicro(dst []byte, n uint64) []byte {
	dst = strconv.AppendUint(dst, n/1e6, 10)
	frac := uint32(n % 1e6)
	if frac == 0 {
		return dst
	}
	var digits [7]byte
	digits[0] = '.'
	for i := 6; i > 0; i-- {
		digits[i] = byte('0' + frac%10)
		frac /= 10
	}
	end := len(digits)
	for digits[end-1] == '0' {
		end--
	}
	return append(dst, digits[:end]...)
}

// appendEscaped appends the value of a label: both formats escape backslash,
// quote and newline, and nothing else.
func appendEscaped(dst []byte, value string) []byte {
	from := 0
	for i := 0; i < len(value); i++ {
		var c byte
		switch value[i] {
		case '\\', '"':
			c = value[i]
		case '\n':
			c = 'n'
		default:
			continue
		}
		dst = append(dst, value[from:i]...)
		dst = append(dst, '\\', c)
		from = i + 1
	}
	return append(dst, value[from:]...)
}

// headers returns what stands before the samples of each family.
func headers(families []export.Family, format Format) []string {
	list := make([]string, len(families))
	for i := range families {
		f := &families[i]
		name, kind := f.Name, f.Type.String()
		help := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
		if format == OpenMetrics {
			// The name of an OpenMetrics family has no suffix of its type.
			switch f.Type {
			case export.Counter:
				name = strings.TrimSuffix(name, "_total")
			case export.Info:
				name, kind = strings.TrimSuffix(name, "_info"), "info"
			default:
			}
			help = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
		}
		list[i] = "# HELP " + name + " " + help.Replace(f.Help) + "\n# TYPE " + name + " " + kind + "\n"
		if format == OpenMetrics && f.Unit != "" {
			list[i] += "# UNIT " + name + " " + f.Unit + "\n"
		}
	}
	return list
}
