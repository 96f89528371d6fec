package plugin

// WellKnown returns what is true of the framework's well-known parameters
// whatever plugin makes them, for manifests that have no parameter-metadata for
// them: energy adds up, utilisation has a mean, a number of processors stays.
// The reference knows nothing of the kind.
func WellKnown(name string) (Parameter, bool) {
	p := Parameter{Name: name}
	switch name {
	case "energy", "cpu/energy", "memory/energy", "network/energy", "gpu/energy", "storage/energy":
		p.Unit, p.Time, p.Component = "kWh", Sum, Sum
	case "carbon", "carbon-operational", "carbon-embodied", "embodied-carbon", "operational-carbon":
		p.Unit, p.Time, p.Component = "gCO2e", Sum, Sum
	case "network/data-in", "network/data-out", "network/data":
		p.Unit, p.Time, p.Component = "GB", Sum, Sum
	case "network/data/bytes":
		p.Unit, p.Time, p.Component = "bytes", Sum, Sum
	case "time-reserved":
		p.Unit, p.Time, p.Component = "seconds", Sum, Copy
	case "cpu/utilization", "memory/utilization", "gpu/utilization":
		p.Unit, p.Time, p.Component = "%", Avg, Avg
	case "cpu/power", "power":
		p.Unit, p.Time, p.Component = "W", Avg, Sum
	case "grid/carbon-intensity":
		p.Unit, p.Time, p.Component = "gCO2e/kWh", Avg, Avg
	case "sci":
		p.Unit, p.Time, p.Component = "gCO2e", Avg, Sum
	case "cpu/thermal-design-power", "vCPUs", "vcpus-allocated", "vcpus-total", "cpu/number-cores", "memory", "memory/capacity", "memory-available",
		"ssd", "hdd", "gpu", "usage-ratio", "device/emissions-embodied", "device/expected-lifespan", "resources-reserved", "resources-total",
		"cpu/energy-factor", "power-usage-effectiveness", "power-usage-efficiency":
		p.Time, p.Component = Copy, Copy
	default:
		return Parameter{}, false
	}
	return p, true
}
