package prometheus

import (
	"strconv"
	"strings"
)

// negotiate returns the format that the Accept header fields prefer (RFC 9110,
// section 12.5.1). Text is what everybody reads, so it wins ties and answers
// requests that accept neither.
func negotiate(accept []string) Format {
	text, open := -1.0, -1.0
	for _, field := range accept {
		for item := range strings.SplitSeq(field, ",") {
			media, params, _ := strings.Cut(item, ";")
			q, version := 1.0, ""
			for param := range strings.SplitSeq(params, ";") {
				name, value, _ := strings.Cut(param, "=")
				value = strings.Trim(strings.TrimSpace(value), `"`)
				switch strings.ToLower(strings.TrimSpace(name)) {
				case "q":
					q = weight(value)
				case "version":
					version = value
				}
			}
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "application/openmetrics-text":
				if version == "" || version == "1.0.0" {
					open = max(open, q)
				}
			case "text/plain":
				if version == "" || version == "0.0.4" {
					text = max(text, q)
				}
			}
		}
	}
	if open > 0 && open > text {
		return OpenMetrics
	}
	return Text
}

// AcceptsGzip tells whether Accept-Encoding header fields allow gzip (RFC 9110,
// section 12.5.3).
func AcceptsGzip(fields []string) bool {
	named, all := -1.0, -1.0
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			coding, param, _ := strings.Cut(item, ";")
			q := 1.0
			if name, value, ok := strings.Cut(param, "="); ok && strings.EqualFold(strings.TrimSpace(name), "q") {
				q = weight(strings.TrimSpace(value))
			}
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				named = max(named, q)
			case "*":
				all = max(all, q)
			}
		}
	}
	if named >= 0 {
		return named > 0
	}
	return all > 0
}

// weight reads a quality value; what is not one counts as 0.
func weight(s string) float64 {
	q, err := strconv.ParseFloat(s, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}
