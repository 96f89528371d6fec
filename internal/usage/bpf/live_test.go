package bpf

import (
	"testing"

	"noether/internal/workload"
)

func TestSmoke(t *testing.T) {
	for _, rung := range []string{"syscall", "iter"} {
		s, err := Open(t.Context(), Options{Proc: "/proc", Sys: "/sys", Rung: rung})
		if err != nil {
			t.Fatal(err)
		}
		var u workload.Usage
		for range 3 {
			u.Reset()
			if err := s.Read(t.Context(), &u); err != nil {
				t.Fatal(err)
			}
			t.Log(s.Rung(), s.listed, len(u.Tasks), u.Dropped, *s.hooks.shared())
			for i := range min(5, len(u.Tasks)) {
				t.Logf("%+v %s", u.Tasks[i], u.Tasks[i].Comm[:])
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
