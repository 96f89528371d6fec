package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"noether/internal/probe"
)

// checkTimeout is how long somebody who checks waits at most.
const checkTimeout = 20 * time.Second

// Check asks once and says whether the names of pods can be had, and if not,
// exactly what is missing.
func Check(ctx context.Context, o Options) probe.Verdict {
	o.Log = slog.New(slog.DiscardHandler)
	name := "kubernetes " + o.Mode
	s, err := Open(o)
	if err != nil {
		return probe.Of(name, "", err)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	reason, err := s.check(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer to all of it within %s: %w", checkTimeout, err)
	}
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
	a.watches.Wait()
	reason := fmt.Sprintf("%d pods on node %s", len(list.Items), a.node)
	_, err = a.readNode(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return "", a.explain(err)
	case apierrors.IsForbidden(err):
		reason += `; the node may not be read ({apiGroups: [""], resources: [nodes], verbs: [get]}), ` +
			"so this machine's own CPUs and memory stand for what pods can reserve"
		if len(list.Items) == 0 {
			return "", &probe.Error{
				Status: probe.Broken,
				Remedy: "is --node-name this machine's name in: kubectl get nodes?",
				Err:    errors.New(reason),
			}
		}
	case err != nil:
		return "", a.explain(err)
	}
	return reason, nil
}
