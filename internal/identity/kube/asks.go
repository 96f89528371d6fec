package kube

import "noether/internal/workload"

type asks struct{}

func (a *asks) missing([]workload.Owner) {}
