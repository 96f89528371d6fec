package kube

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// watch begins a watch of the node's pods.
func (a *api) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(ctx)
	options.FieldSelector = a.selector()
	options.Watch = true
	silent := time.AfterFunc(a.watchTimeout, cancel)
	from, err := a.client.Get().Resource("pods").VersionedParams(&options, a.params).Watch(ctx)
	answered := silent.Stop()
	if err != nil {
		cancel()
		if !answered {
			err = fmt.Errorf("no answer within %s", a.watchTimeout)
		}
		return nil, fmt.Errorf("watching the pods of node %s: %w", a.node, err)
	}
	w := &checkedWatch{
		api: a, from: from, cancel: cancel, whole: options.SendInitialEvents == nil,
		events: make(chan watch.Event), stopped: make(chan struct{}),
	}
	if options.TimeoutSeconds != nil {
		w.late = time.AfterFunc(time.Duration(*options.TimeoutSeconds)*time.Second+watchGrace, cancel)
	}
	if w.whole && !a.doubted.Load() {
		a.health.answered(ctx)
	}
	a.watches.Go(func() { w.pass(ctx) })
	return w, nil
}

// checkedWatch is a watch that ends by itself when the server forgets to end
// it, and that tells whether what comes is what was asked for: the client
// would try again for ever and never say so.
type checkedWatch struct {
	api    *api
	from   watch.Interface
	cancel context.CancelFunc
	late   *time.Timer
	whole  bool // every pod was told; before, those that exist are streamed

	events  chan watch.Event
	once    sync.Once
	stopped chan struct{}
}

// ResultChan returns the events. It is closed when there are no more.
func (w *checkedWatch) ResultChan() <-chan watch.Event { return w.events }

// Stop ends the watch.
func (w *checkedWatch) Stop() {
	w.once.Do(func() {
		if w.late != nil {
			w.late.Stop()
		}
		close(w.stopped)
		w.cancel()
		w.from.Stop()
	})
}

// pass passes the events on until there are no more.
func (w *checkedWatch) pass(ctx context.Context) {
	defer close(w.events)
	streaming := time.NewTimer(w.api.listTimeout)
	defer streaming.Stop()
	for {
		late := streaming.C
		if w.whole {
			late = nil
		}
		var e watch.Event
		select {
		case <-w.stopped:
			return
		case <-late: // an old server takes this for any other watch
			e = unfinished()
		case next, more := <-w.from.ResultChan():
			switch {
			case more:
				e = next
				w.look(ctx, &e)
			case w.whole:
				return
			default:
				e = unfinished()
			}
		}
		select {
		case w.events <- e:
		case <-w.stopped:
			return
		}
	}
}

// look notes what an event says about the server.
func (w *checkedWatch) look(ctx context.Context, e *watch.Event) {
	p, ok := e.Object.(*pod)
	if e.Type == watch.Error || !ok {
		if err := apierrors.FromObject(e.Object); !expired(err) {
			w.api.doubted.Store(true)
			w.api.note(ctx, fmt.Errorf("watching the pods of node %s: %w", w.api.node, err))
		}
		return
	}
	if e.Type == watch.Bookmark && p.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true" {
		w.whole = true
	}
	if w.whole {
		w.api.doubted.Store(false)
		w.api.health.answered(ctx)
	}
}

// unfinished is what a stream of the existing pods ends with that was not
// ended by its mark: the client then lists them.
func unfinished() watch.Event {
	return watch.Event{Type: watch.Error, Object: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest,
		Message: "the pods that exist were not streamed to the end",
	}}
}
