package page

import (
	"testing"
)

func views() []string {
	return []string{"overview", "flow", "workloads", "compare", "carbon", "health"}
}

// TestViewsOfAnAgent opens every view of a real agent by its address and by the
// navigation.
func TestViewsOfAnAgent(t *testing.T) {
	a := startAgent(t, "--interval", "1s", "--store.path", t.TempDir(), "--store.interval", "1s", "--processes", "all")
	burn(t, "burner")
	b := open(t, a.url, desktop)
	for _, v := range views() {
		b.visit("#/" + v + "?range=15m&refresh=0")
		b.shot("agent-" + v)
	}
}
