package kube

import (
	"context"
	"fmt"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"noether/internal/probe"
)

// Check asks once and says whether the names of pods can be had, and if not,
// exactly what is missing.
func Check(ctx context.Context, o Options) probe.Verdict {
	o.Log = slog.New(slog.DiscardHandler)
	name := "kubernetes " + o.Mode
	s, err := Open(o)
	if err != nil {
		return probe.Of(name, "", err)
	}
	reason, err := s.check(ctx)
	return probe.Of(name, reason, err)
}

// check asks for all that run would.
func (a *api) check(ctx context.Context) (string, error) {
	list, err := a.list(ctx, metav1.ListOptions{ResourceVersion: "0", Limit: pageSize})
	if err != nil {
		return "", a.explain(err)
	}
	second := int64(1)
	w, err := a.watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, TimeoutSeconds: &second})
	if err != nil {
		return "", a.explain(err)
	}
	w.Stop()
	reason := fmt.Sprintf("%d pods on node %s", len(list.Items), a.node)
	return reason, nil
}
