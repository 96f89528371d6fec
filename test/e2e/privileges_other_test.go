//go:build !amd64

package e2e

import "errors"

// takeAway injects system calls, which is written for amd64 only.
func takeAway(int, string) (int, error) { return 0, errors.ErrUnsupported }
