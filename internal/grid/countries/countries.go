// Package countries tells the English name of the country that a grid zone
// lies in, for people who look for their zone. The table is iso3166.tab of the
// IANA time zone database, which is in the public domain.
//
// It refuses to take a position on what is a country: it only knows codes.
package countries

import (
	_ "embed"
	"strings"
)

//go:embed iso3166.tab
var table string

// Name returns the name of the country with an ISO 3166-1 alpha-2 code, "" if
// there is none.
func Name(code string) string {
	for line := range strings.Lines(table) {
		if c, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t"); ok && c == code {
			return name
		}
	}
	return ""
}
