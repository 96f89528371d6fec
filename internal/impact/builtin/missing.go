package builtin

import "strings"

// Instead tells what to use in place of a known plugin that this engine does
// not have, as a sentence without its full stop; "" for an unknown one. Path
// and method are those of initialize.plugins.
func Instead(path, method string) string {
	module := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	switch strings.ToLower(method) {
	case "teadsaws":
		return "use TeadsCurve with CloudMetadata for energy, and SciEmbodied for embodied carbon"
	case "cloudcarbonfootprint", "ccf":
		return "use Interpolation through the provider's idle and full power for energy, and SciEmbodied for embodied carbon"
	case "boaviztacpuoutput", "boaviztacloudoutput", "boaviztabaseoutput":
		return "fetch the figures from Boavizta's API once and look them up with CSVLookup, or use TeadsCurve and SciEmbodied"
	case "watttimegridemissions", "watttime":
		return "use CarbonIntensity with the zone's intensities in a file"
	case "electricitymaps", "gridcarbonintensity", "carbonawareadvisor", "carbonawaresdk":
		return "use CarbonIntensity"
	case "co2js":
		return "use ENet for the energy of traffic, then SciO"
	case "azureimporter":
		return "export Azure Monitor's metrics to Prometheus and use PrometheusImporter, or to CSV and use CSVImport"
	case "grafanaexport", "grafana", "csvexport", "csv":
		return "use PrometheusPublisher and a Grafana panel on noether_impact_*, or noether impact csv"
	case "shellimports", "shellexec":
		return "use Shell"
	case "groupby":
		return "use the pipeline's regroup phase"
	case "k8smetricsimporter", "k8simporter", "kubernetesimporter", "metricsserverimporter":
		return "use PrometheusImporter with the preset kepler or noether"
	case "githubimporter", "githubplugin", "github":
		return "run the tool that knows GitHub before this engine and import its figures with CSVImport"
	case "ecoci", "ecociplugin", "eco-ci":
		return "import the figures of Eco CI with CSVImport, or measure the runner with Noether and use PrometheusImporter"
	case "cloudinstancemetadata":
		return "use CloudMetadata"
	case "embodiedcarbon":
		return "use SciEmbodied"
	case "sciaccenture":
		return "use Multiply with the factor 1.05"
	}
	switch {
	case strings.Contains(module, "prometheus-importer"):
		return "use PrometheusImporter"
	case strings.Contains(module, "k8s"):
		return "use PrometheusImporter with the preset kepler or noether"
	case strings.Contains(module, "github-plugin"):
		return "run the tool that knows GitHub before this engine and import its figures with CSVImport"
	case strings.Contains(module, "eco-ci"):
		return "import the figures of Eco CI with CSVImport, or measure the runner with Noether and use PrometheusImporter"
	case strings.Contains(module, "carbon-aware"):
		return "use CarbonIntensity"
	case module == "if-plugins" || module == "if-unofficial-plugins" || module == "if-models" || module == "if-unofficial-models":
		return "use the builtin method that does the same; noether impact env lists them"
	}
	return ""
}
