package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// needPrometheus3 returns a Prometheus of version 3, which receives
// remote-write 2.0. Debian's does not.
func needPrometheus3(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Skipf("needs a directory for caches: %v", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "noether", "prometheus-0.305.1", "prometheus")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs Prometheus 3 at %s (test/e2e/prometheus3.sh builds it in a few minutes)", path)
	}
	return path
}
