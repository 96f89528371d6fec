package e2e

import (
	"testing"

	"noether/test/e2e/cluster"
)

// needPrometheus3 returns a Prometheus of version 3, which receives
// remote-write 2.0. Debian's does not.
func needPrometheus3(t *testing.T) string {
	t.Helper()
	tools, err := cluster.FindTools(t.Context(), "prometheus")
	if err != nil {
		t.Skipf("needs Prometheus 3, which make prometheus3 builds in some minutes: %v", err)
	}
	return tools.Program("prometheus")
}
