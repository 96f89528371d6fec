// Package docker asks Docker and Podman what the containers outside pods are
// called, over their Unix sockets and with nothing but GET. It asks only while
// a living container has no name, and only for that one: a machine whose
// containers are all known costs no request.
//
// It refuses to start a program, to follow a socket that a user has put where
// another one's belongs, to read more than its bounds, and to keep anything of
// an answer but ids and names: labels and environments are user text.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"noether/internal/probe"
	"noether/internal/workload"
)

// Options say where to ask.
type Options struct {
	// Sockets are the paths to ask at, all of them. Without any, the usual
	// ones below Root are looked for again and again.
	Sockets []string
	Root    string // "" is /
	Log     *slog.Logger
	Now     func() time.Time
}

// Source knows the names of containers outside pods. Run asks; Latest, Missing
// and Status never block and may be called from any goroutine.
type Source struct {
	opts   Options
	wake   chan struct{} // holds one: somebody is missing
	latest atomic.Pointer[workload.Names]

	// Of Run alone.
	sockets []*socket
	looked  time.Time        // when sockets were last looked for
	known   map[string]known // names by container id
	limit   int              // of known: maxKnown

	mu      sync.Mutex
	missing map[string]bool // ids of containers without a name in the last tick
	status  []workload.NamesStatus
}

// known is the name of a container.
type known struct {
	name string
	by   *socket // the one that told it: of a lower rank it knows better
}

// The distances in time.
const (
	lookEvery = 5 * time.Second // between two looks for sockets
	askEvery  = time.Second     // least between two requests to one socket
	maxPause  = time.Minute     // most between two requests to a socket that fails
)

// maxKnown bounds how many names are kept. Ids are never used again, so that
// those of containers that are gone do no harm until then.
const maxKnown = 8192

// maxMissing bounds how many containers are asked for at a time.
const maxMissing = 4096

// Open looks for sockets once, without connecting. A socket that is not there
// is no error: what it belongs to may be started later.
func Open(o Options) (*Source, error) {
	for _, path := range o.Sockets {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("ask for container names at %q: it is not an absolute path: write it like /run/podman/podman.sock", path)
		}
	}
	if o.Root == "" {
		o.Root = "/"
	}
	s := &Source{
		opts: o, wake: make(chan struct{}, 1),
		known: map[string]known{}, limit: maxKnown, missing: map[string]bool{},
	}
	for _, path := range o.Sockets {
		if err := isSocket(path); err != nil {
			o.Log.Warn("there is nobody to ask for container names there yet; it is looked for again and again", slog.String("reason", err.Error()))
		}
	}
	s.look(o.Now())
	s.latest.Store(&workload.Names{AsksContainers: len(s.sockets) > 0})
	return s, nil
}

// Latest returns the names that are known by now.
func (s *Source) Latest() *workload.Names { return s.latest.Load() }

// Missing takes note of the living containers that have no name.
func (s *Source) Missing(owners []workload.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.missing)
	for i := range owners {
		o := &owners[i]
		if o.Kind != workload.ContainerOwner || !isID(o.Container.ID) || len(s.missing) >= maxMissing {
			continue // what is in a pod is named by Kubernetes
		}
		switch o.Container.Runtime {
		case "docker", "podman", "":
			s.missing[o.Container.ID] = true
		default:
		}
	}
	if len(s.missing) == 0 {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Status appends one line for Docker and one for Podman, as far as they were asked.
func (s *Source) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.status...)
}

// Run asks for names until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	defer s.close()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.step(ctx))
	}
}

// step looks for sockets, asks every one that has something to be asked, and
// returns when to come back if nobody is missing before.
func (s *Source) step(ctx context.Context) (again time.Duration) {
	now := s.opts.Now()
	if now.Sub(s.looked) >= lookEvery {
		s.look(now)
	}
	missing := s.wanted()
	changed := false
	if len(missing) > 0 && len(s.known) >= s.limit {
		changed = s.prune(ctx)
	}
	for _, k := range s.sockets {
		ids := k.due(missing, now)
		if len(ids) == 0 || ctx.Err() != nil {
			continue
		}
		names, err := k.ask(ctx, ids)
		if ctx.Err() != nil {
			return 0
		}
		now = s.opts.Now()
		s.say(ctx, k, err)
		if err != nil {
			k.failed(now)
			continue
		}
		k.answered(ids, now)
		for id, name := range names {
			changed = s.learn(id, name, k) || changed
		}
	}
	s.publish(changed)

	next := s.looked.Add(lookEvery)
	missing = s.wanted()
	for _, k := range s.sockets {
		if at, ok := k.next(missing); ok && at.Before(next) {
			next = at
		}
	}
	return max(next.Sub(now), 10*time.Millisecond)
}

// wanted returns the missing ids that have no name yet.
func (s *Source) wanted() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make(map[string]bool, len(s.missing))
	for id := range s.missing {
		if _, ok := s.known[id]; !ok {
			wanted[id] = true
		}
	}
	return wanted
}

// learn keeps a name and reports whether that is new.
func (s *Source) learn(id, name string, by *socket) bool {
	old, ok := s.known[id]
	if ok && (old.by.rank < by.rank || old.name == name) || !ok && len(s.known) >= s.limit {
		return false
	}
	s.known[id] = known{name, by}
	return true
}

// prune forgets the containers that no socket lists any more, and reports
// whether there were any.
func (s *Source) prune(ctx context.Context) bool {
	ids := slices.Collect(maps.Keys(s.known))
	listed := map[string]string{}
	for _, k := range s.sockets {
		if names, err := k.ask(ctx, ids); err == nil {
			maps.Copy(listed, names)
		}
	}
	before := len(s.known)
	maps.DeleteFunc(s.known, func(id string, _ known) bool {
		_, ok := listed[id]
		return !ok
	})
	return len(s.known) < before
}

// publish makes what is known visible.
func (s *Source) publish(changed bool) {
	old := s.latest.Load()
	if asks := len(s.sockets) > 0; changed || asks != old.AsksContainers {
		names := &workload.Names{Containers: old.Containers, AsksContainers: asks}
		if changed {
			names.Containers = make(map[string]string, len(s.known))
			for id, k := range s.known {
				names.Containers[id] = k.name
			}
		}
		s.latest.Store(names)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	up := map[string]bool{}
	for _, k := range s.sockets {
		if k.requests == 0 {
			continue
		}
		st := s.statusOf(k.kind)
		st.Requests += k.requests - k.counted.requests
		st.Bytes += k.bytes - k.counted.bytes
		k.counted.requests, k.counted.bytes = k.requests, k.bytes
		if k.synced.After(st.Synced) {
			st.Synced = k.synced
		}
		before, again := up[k.kind]
		up[k.kind] = k.fails == 0 && (before || !again)
	}
	for i := range s.status {
		st := &s.status[i]
		if v, ok := up[st.Source]; ok {
			st.Up = v // one whose socket is gone is as it was last
		}
		st.Known = 0
	}
	for _, n := range s.known {
		s.statusOf(n.by.kind).Known++
	}
}

func (s *Source) statusOf(kind string) *workload.NamesStatus {
	for i := range s.status {
		if s.status[i].Source == kind {
			return &s.status[i]
		}
	}
	s.status = append(s.status, workload.NamesStatus{Source: kind})
	return &s.status[len(s.status)-1]
}

// say logs when a socket stops to answer and when it answers again. Why is
// said once: what it answers may be any user's text, and another one each time.
func (s *Source) say(ctx context.Context, k *socket, err error) {
	if k.lost == (err != nil) {
		return
	}
	k.lost = err != nil
	if err == nil {
		s.opts.Log.InfoContext(ctx, "container names come again", slog.String("socket", k.path))
		return
	}
	attrs := []slog.Attr{slog.String("reason", err.Error())}
	if v := probe.Of(k.kind, "", err); v.Remedy != "" {
		attrs = append(attrs, slog.String("remedy", v.Remedy))
	}
	s.opts.Log.LogAttrs(ctx, slog.LevelWarn, "container names are out of reach: containers are told by id until they come", attrs...)
}

func (s *Source) close() {
	for _, k := range s.sockets {
		k.close()
	}
}

// look finds the sockets that are there, and forgets those that are not.
func (s *Source) look(now time.Time) {
	s.looked = now
	found := s.opts.find()
	old := s.sockets
	s.sockets = nil
	for _, path := range found {
		var k *socket
		for _, o := range old {
			if o.path == path {
				k = o
			}
		}
		if k == nil {
			k = newSocket(path)
		}
		s.sockets = append(s.sockets, k)
	}
	for _, o := range old {
		if !slices.Contains(s.sockets, o) {
			o.close()
		}
	}
}

// Check tries the sockets once and says what came of it: one verdict for each
// socket that is there, or one that none is.
func Check(ctx context.Context, o Options) []probe.Verdict {
	o.Log = slog.New(slog.DiscardHandler)
	s, err := Open(o)
	if err != nil {
		return []probe.Verdict{probe.Of("containers", "", err)}
	}
	defer s.close()
	var verdicts []probe.Verdict
	for _, k := range s.sockets {
		_, err := k.ask(ctx, nil)
		verdicts = append(verdicts, probe.Of(k.kind, "answers at "+k.path+"; asked only for containers outside pods that have no name yet", err))
	}
	if len(verdicts) > 0 {
		return verdicts
	}
	reason := "no socket at any of the usual places of Docker and Podman"
	for i, path := range o.Sockets {
		if i == 0 {
			reason = ""
		} else {
			reason += "; "
		}
		if err := isSocket(path); err != nil {
			reason += err.Error()
		}
	}
	return []probe.Verdict{{Name: "docker", Status: probe.Absent, Reason: reason + ": containers outside pods are told by id"}}
}

// forbidden puts the remedy to an error that more rights would mend.
func forbidden(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &probe.Error{
		Status: probe.Forbidden, Err: err,
		Remedy: "run the agent as root, or let its user write to " + path + " (whoever may is as good as root here), or set --container-names off",
	}
}
