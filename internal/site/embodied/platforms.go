package embodied

import (
	_ "embed"
	"strconv"
	"strings"

	"noether/internal/unit"
)

// platforms is the table of the servers that instances run on; its head says
// where each figure comes from.
//
//go:embed platforms.csv
var platforms string

// platform is one line of the table: the server behind an instance type, and
// how much of it the instance has.
type platform struct {
	vcpus, of        uint64 // the instance's and the server's
	memory, cpu, gpu unit.Mass
	total            unit.Mass
	source           string
}

// findPlatform returns the line of an instance type. Case does not matter:
// Azure's own interfaces do not agree on it.
func findPlatform(instance string) (platform, bool) {
	for line := range strings.Lines(platforms) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		if len(f) != 8 || len(instance) <= len(f[0]) || !strings.EqualFold(instance[:len(f[0])], f[0]) {
			continue
		}
		for size := range strings.FieldsSeq(f[1]) {
			name, vcpus, _ := strings.Cut(size, ":")
			if strings.EqualFold(name, instance[len(f[0]):]) {
				return platform{
					vcpus: count(vcpus), of: count(f[2]),
					memory: kilograms(f[3]), cpu: kilograms(f[4]), gpu: kilograms(f[5]),
					total: kilograms(f[6]), source: f[7],
				}, true
			}
		}
	}
	return platform{}, false
}

// count and kilograms read fields of the table, which a test has checked.
func count(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 16)
	return n
}

func kilograms(s string) unit.Mass {
	x, _ := strconv.ParseFloat(s, 64)
	return kg(x)
}
