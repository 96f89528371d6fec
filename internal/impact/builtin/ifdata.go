package builtin

import (
	"embed"
	"fmt"
	"sync"
)

// ifData are tables of the Green Software Foundation's repository if-data
// (https://github.com/Green-Software-Foundation/if-data), under the MIT licence
// that lies with them.
//
//go:embed data/*.csv data/LICENSE.if-data
var ifData embed.FS

// embeddedTable returns a function that parses a table of ifData once.
func embeddedTable(name string) func() (*table, error) {
	return sync.OnceValues(func() (*table, error) {
		src, err := ifData.ReadFile("data/" + name)
		if err != nil {
			return nil, fmt.Errorf("read embedded table: %w", err)
		}
		return parseCSV(src, true)
	})
}
