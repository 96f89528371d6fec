package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want Verdict
	}{
		"it works":             {nil, Verdict{Name: "x", Status: Works, Reason: "2 zones"}},
		"the machine lacks it": {fmt.Errorf("read /sys/x: no meter: %w", ErrNotSupported), Verdict{Name: "x", Status: Absent, Reason: "read /sys/x: no meter"}},
		"it may not be read":   {&fs.PathError{Op: "open", Path: "/sys/x", Err: fs.ErrPermission}, Verdict{Name: "x", Status: Forbidden, Reason: "open /sys/x: permission denied"}},
		"what is known counts": {fmt.Errorf("open x: %w", &Error{Status: Masked, Remedy: "--root /host", Err: fs.ErrPermission}), Verdict{Name: "x", Status: Masked, Reason: "open x: permission denied", Remedy: "--root /host"}},
		"else nobody can tell": {errors.New("open x: input/output error"), Verdict{Name: "x", Status: Unknown, Reason: "open x: input/output error"}},
	} {
		if diff := cmp.Diff(tt.want, Of("x", "2 zones", tt.err)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}
