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
	b := open(t, a.URL, desktop)
	for _, v := range views() {
		b.visit("#/" + v + "?range=15m&refresh=0")
		b.shot("agent-" + v)
	}
}

// TestViewsOfAFleet opens every view over a Prometheus that has eight days of
// two nodes.
func TestViewsOfAFleet(t *testing.T) {
	f := theFleet(t)
	u := startUI(t, startPrometheus(t, "", f.data).URL, "--step", "5m")
	b := open(t, u.URL, desktop)
	for _, v := range views() {
		b.visit(f.at(v, "24h"))
		b.image("page-" + v)
	}
}
