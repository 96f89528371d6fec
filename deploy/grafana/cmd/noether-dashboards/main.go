// Command noether-dashboards writes the Grafana dashboards of deploy/grafana:
//
//	go run ./deploy/grafana/cmd/noether-dashboards
//
// They are one program so that units, variables, windows and looks are the same
// in all of them. It refuses to know Grafana's version: what it writes is the
// classic model of a dashboard, which Grafana 11 and later load.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("o", "deploy/grafana", "the directory to write to")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "noether-dashboards:", err)
		os.Exit(1) //nolint:forbidigo // this is a command
	}
}

// dashboards returns each dashboard under the name of its file.
func dashboards() map[string]dashboard {
	return map[string]dashboard{
		"application.json": application(),
		"overview.json":    overview(),
		"node.json":        node(),
		"impact.json":      scores(),
		"agent.json":       agents(),
	}
}

func write(dir string) error {
	for name, d := range dashboards() {
		text, err := render(d)
		if err != nil {
			return fmt.Errorf("render %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil { //nolint:gosec // a file of the repository, for all to read
			return fmt.Errorf("write a dashboard: %w", err)
		}
	}
	return nil
}

// render returns the file of a dashboard.
func render(d dashboard) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(d.model())
	return out.Bytes(), err
}
