package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// spec tells what a generated manifest holds: a pipeline as people write it
// for Kubernetes, joules to kWh, operational and embodied carbon, their sum and
// the score per request. Values follow from component and index alone.
type spec struct {
	components   int
	observations int // of each component, a minute each
	timeSync     bool
	resolution   int  // seconds; 0 leaves the plugin's own second
	regroup      bool // all observations in one node, grouped by pod
}

func (s spec) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	s.manifest(w)
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// Every write goes to a bufio.Writer, whose Flush returns the first error.
func (s spec) manifest(w *bufio.Writer) {
	const interval = 300
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	end := begin.Add(time.Duration(s.observations) * time.Minute)
	text(w, "name: bench\ndescription: generated\ntags: null\naggregation:\n  metrics:\n    - carbon\n    - sci\n  type: both\ninitialize:\n  plugins:\n")
	if s.timeSync {
		text(w, "    time-sync:\n      path: builtin\n      method: TimeSync\n      config:\n        start-time: '%s'\n        end-time: '%s'\n        interval: %d\n        allow-padding: true\n", iso(begin), iso(end), interval)
		if s.resolution > 0 {
			text(w, "        upsampling-resolution: %d\n", s.resolution)
		}
		text(w, "      parameter-metadata:\n        inputs:\n")
		metadata(w, "timestamp", "RFC3339", "none", "none")
		metadata(w, "duration", "seconds", "sum", "none")
		metadata(w, "joules", "J", "sum", "sum")
		metadata(w, "requests", "requests", "sum", "sum")
	}
	text(w, `    joules-to-kwh:
      path: builtin
      method: Divide
      config:
        numerator: joules
        denominator: 3600000
        output: energy
    operational:
      path: builtin
      method: Multiply
      config:
        input-parameters: [energy, grid/carbon-intensity]
        output-parameter: carbon-operational
    embodied:
      path: builtin
      method: SciEmbodied
      config:
        baseline-emissions: 1000000
    carbon:
      path: builtin
      method: Sum
      config:
        input-parameters: [carbon-operational, embodied-carbon]
        output-parameter: carbon
      parameter-metadata:
        outputs:
`)
	metadata(w, "carbon", "gCO2eq", "sum", "sum")
	text(w, "    sci:\n      path: builtin\n      method: Sci\n      config:\n        functional-unit: requests\ntree:\n  pipeline:\n")
	if s.regroup {
		text(w, "    regroup:\n      - pod\n")
	}
	text(w, "    compute:\n")
	if s.timeSync {
		text(w, "      - time-sync\n")
	}
	text(w, "      - joules-to-kwh\n      - operational\n      - embodied\n      - carbon\n      - sci\n  defaults:\n    grid/carbon-intensity: 350\n    vCPUs: 4\n    memory: 16\n    usage-ratio: 0.25\n  children:\n")
	if s.regroup {
		text(w, "    all:\n      inputs:\n")
	}
	for c := range s.components {
		if !s.regroup {
			text(w, "    pod-%d:\n      inputs:\n", c)
		}
		for i := range s.observations {
			text(w, "        - timestamp: '%s'\n          duration: 60\n          pod: pod-%d\n          joules: %d.5\n          requests: %d\n",
				iso(begin.Add(time.Duration(i)*time.Minute)), c, 1000+(c*7919+i*104729)%5000, 1+(c*31+i*17)%97)
		}
	}
}

func metadata(w io.Writer, name, unit, time, component string) {
	text(w, "          %[1]s:\n            unit: %[2]s\n            description: %[1]s\n            aggregation-method:\n              time: %[3]s\n              component: %[4]s\n", name, unit, time, component)
}

func text(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, strings.ReplaceAll(format, "\t", "  "), args...) //nolint:errcheck // a bufio.Writer keeps its error until Flush
}

func iso(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
