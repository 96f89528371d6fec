package export

import (
	"slices"
	"strconv"
	"strings"

	"noether/internal/energy"
	"noether/internal/snapshot"
)

// zoneKey is what a zone's labels are made of.
type zoneKey struct {
	sensor, name string
	domain       energy.Domain
	socket, die  int
}

// zoneLabels has the value of label zone for each zone, kept until the zones change.
type zoneLabels struct {
	keys  []zoneKey
	names []string
}

func (z *zoneLabels) update(zones []snapshot.Zone) {
	same := len(zones) == len(z.keys)
	for i := 0; same && i < len(zones); i++ {
		same = z.keys[i] == keyOf(&zones[i])
	}
	if same {
		return
	}
	z.keys = z.keys[:0]
	for i := range zones {
		z.keys = append(z.keys, keyOf(&zones[i]))
	}
	z.names = ZoneNames(zones)
}

func keyOf(z *snapshot.Zone) zoneKey {
	return zoneKey{z.Sensor, z.Name, z.Domain, z.Socket, z.Die}
}

// ZoneNames returns what each zone is called: the hardware's name, with the
// die where several repeat it and the interface where two lead to the same
// registers. Together with sensor and socket it is unique.
func ZoneNames(zones []snapshot.Zone) []string {
	type series struct {
		sensor, zone string
		socket       int
	}
	names := make([]string, 0, len(zones))
	taken := make([]series, 0, len(zones))
	for i := range zones {
		z := &zones[i]
		base := z.Name
		if base == "" {
			base = z.Domain.String()
		}
		if z.Die >= 0 && !strings.Contains(base, "die") {
			base += "-die-" + strconv.Itoa(z.Die)
		}
		if z.Domain == energy.MMIOPackage && !strings.Contains(base, "mmio") {
			base = "mmio-" + base
		}
		name := base
		for n := 2; slices.Contains(taken, series{z.Sensor, name, z.Socket}); n++ {
			name = base + "#" + strconv.Itoa(n)
		}
		names = append(names, name)
		taken = append(taken, series{z.Sensor, name, z.Socket})
	}
	return names
}
