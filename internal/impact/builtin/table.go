// Package builtin holds the methods that manifests can name, one file each, and
// the one table of them. Methods compute rows from rows; reading names,
// arithmetic in configuration and mapping are the frame's (package plugin).
package builtin

import "noether/internal/impact/plugin"

// Methods returns the table of all methods, in the order of the documentation.
func Methods() []plugin.Method {
	return []plugin.Method{
		coefficient(),
		copyParameter(),
		csvImport(),
		csvLookup(),
		divide(),
		exponent(),
		interpolation(),
		mockObservations(),
		multiply(),
		regex(),
		sci(),
		sciEmbodied(),
		sciLegacy(),
		shell(),
		subtract(),
		sum(),
		timeConverter(),
		timeSync(),
		teadsCurve(),
		tdpFinder(),
		cloudMetadata(),
		eMem(),
		eNet(),
		sciE(),
		sciM(),
		sciO(),
		prometheusImporter(),
		keplerPlugin(),
		carbonIntensity(),
		prometheusPublisher(),
	}
}
