package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"noether/internal/identity"
)

// socket is one place to ask. One goroutine uses it at a time.
type socket struct {
	path   string
	kind   string // docker or podman
	rank   int    // 0 the machine's own, 1 a user's
	client *http.Client
	prefix string // of the API's paths: "", or "/v1.44" where the daemon insists

	notBefore time.Time // of the next request
	fails     int       // requests that failed since the last that did not
	lost      bool      // it was said that it does not answer
	asked     map[string]attempt

	requests, bytes uint64
	counted         struct{ requests, bytes uint64 } // of these, what the status has
	synced          time.Time
}

// attempt is how often a socket did not know a container.
type attempt struct {
	times int
	next  time.Time
}

// again says how long to wait before a socket that did not know a container is
// asked for it again: a container has its cgroup before it is listed, hardly
// ever for long.
func again(times int) (time.Duration, bool) {
	switch times {
	case 1:
		return 2 * time.Second, true
	case 2:
		return 15 * time.Second, true
	default:
		return 0, false
	}
}

// Bounds of one request.
const (
	timeout  = 3 * time.Second
	maxBytes = 32 << 20
	// maxFilter is the most containers that are asked for by id; beyond it the
	// whole list is cheaper.
	maxFilter = 64
	maxReason = 160 // bytes of an error's text
	maxUsers  = 64  // directories below /run/user that are looked into
)

func newSocket(path string) *socket {
	k := &socket{path: path, kind: "docker", asked: map[string]attempt{}}
	if strings.Contains(filepath.Base(path), "podman") {
		k.kind = "podman"
	}
	if strings.Contains(path, "/run/user/") {
		k.rank = 1
	}
	dialer := &net.Dialer{}
	k.client = &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			// A request is rare: a connection that waits would keep the
			// service of a socket-activated Podman from ending.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", path)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return k
}

func (k *socket) close() { k.client.CloseIdleConnections() }

// due returns the missing ids that may be asked for now, nil for none.
func (k *socket) due(missing map[string]bool, now time.Time) (ids []string) {
	for id := range k.asked {
		if !missing[id] {
			delete(k.asked, id)
		}
	}
	if now.Before(k.notBefore) {
		return nil
	}
	for id := range missing {
		if a := k.asked[id]; a.allowed() && !now.Before(a.next) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (a attempt) allowed() bool {
	if a.times == 0 {
		return true
	}
	_, ok := again(a.times)
	return ok
}

// next returns when the socket is to be asked next, if it is.
func (k *socket) next(missing map[string]bool) (at time.Time, ok bool) {
	for id := range missing {
		a := k.asked[id]
		if a.allowed() && (!ok || a.next.Before(at)) {
			at, ok = a.next, true
		}
	}
	if at.Before(k.notBefore) {
		at = k.notBefore
	}
	return at, ok
}

// failed makes the distance to the next request grow.
func (k *socket) failed(now time.Time) {
	k.fails++
	k.notBefore = now.Add(min(askEvery<<min(k.fails, 10), maxPause))
}

// answered takes note of an answer: those of ids that it did not name are
// asked for again later.
func (k *socket) answered(ids []string, now time.Time) {
	k.fails = 0
	k.synced = now
	k.notBefore = now.Add(askEvery)
	for _, id := range ids {
		a := k.asked[id]
		a.times++
		wait, _ := again(a.times)
		a.next = now.Add(wait)
		k.asked[id] = a
	}
}

// ask returns the names of those of the containers that the socket knows.
// Without ids it only finds out whether it answers.
func (k *socket) ask(ctx context.Context, ids []string) (map[string]string, error) {
	query := url.Values{}
	switch {
	case len(ids) == 0:
		query.Set("limit", "1")
	case len(ids) <= maxFilter:
		query.Set("all", "true")
		filter, err := json.Marshal(map[string][]string{"id": ids})
		if err != nil {
			return nil, err
		}
		query.Set("filters", string(filter))
	default:
		query.Set("all", "true")
	}
	names, err := k.get(ctx, query, ids)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.version != "" && k.prefix != "/v"+refused.version {
		// It wants its version said, and says which.
		k.prefix = "/v" + refused.version
		names, err = k.get(ctx, query, ids)
	}
	if err != nil {
		return nil, forbidden(k.path, fmt.Errorf("ask %s for the names of containers: %w", k.path, shorten(err)))
	}
	return names, nil
}

// refusedError is an answer that is none.
type refusedError struct {
	status  string
	version string // of the API that the daemon speaks
}

func (e *refusedError) Error() string { return "it answers " + e.status }

// get does one request. Paths without a version work with every Docker and
// Podman, while each version is refused by some: below 1.44 by Docker 29, 1.44
// by Docker 24. Ids and names are the same in all.
// https://docs.docker.com/reference/api/engine/, operation ContainerList.
func (k *socket) get(ctx context.Context, query url.Values, ids []string) (map[string]string, error) {
	target := url.URL{Scheme: "http", Host: "localhost", Path: k.prefix + "/containers/json", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	k.requests++
	reply, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	body := &counter{r: io.LimitReader(reply.Body, maxBytes+1)}
	defer func() {
		k.bytes += body.n
		_ = reply.Body.Close() // it was read as far as it is wanted
	}()
	if strings.Contains(reply.Header.Get("Server"), "Libpod") {
		k.kind = "podman" // also behind Docker's path
	}
	if reply.StatusCode != http.StatusOK {
		e := &refusedError{status: strings.TrimSpace(fmt.Sprintf("%d %s", reply.StatusCode, http.StatusText(reply.StatusCode)))}
		if v := reply.Header.Get("Api-Version"); isVersion(v) {
			e.version = v
		}
		return nil, e
	}
	names, err := parse(body, ids)
	if netErr, ok := errors.AsType[net.Error](body.err); ok && netErr.Timeout() {
		return nil, netErr
	}
	if body.n > maxBytes {
		return nil, fmt.Errorf("its answer has more than %d MiB", maxBytes>>20)
	}
	return names, err
}

// counter counts what is read through it.
type counter struct {
	r   io.Reader
	n   uint64
	err error // that ended it
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n)
	c.err = err
	return n, err
}

// parse returns the names of the containers ids out of the list of r, which it
// reads one container at a time.
func parse(r io.Reader, ids []string) (map[string]string, error) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	dec := json.NewDecoder(r)
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("its answer is no list of containers")
	}
	names := map[string]string{}
	for dec.More() {
		var c struct {
			ID    string `json:"Id"`
			Names []string
		}
		if err := dec.Decode(&c); err != nil {
			return nil, errors.New("its answer is no list of containers")
		}
		if wanted[c.ID] {
			if name := pick(c.Names); name != "" {
				names[c.ID] = name
			}
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("its answer ends within the list of containers")
	}
	return names, nil
}

// pick returns a container's own name among those in a list: the others, with
// a second slash, are what containers linked to it call it.
func pick(names []string) string {
	for _, name := range names {
		name = strings.TrimPrefix(name, "/")
		if name != "" && !strings.Contains(name, "/") {
			return identity.Label(name)
		}
	}
	return ""
}

// shorten drops what net/http and net put around the reason.
func shorten(err error) error {
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return fmt.Errorf("no answer within %s", timeout)
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if text := err.Error(); len(text) > maxReason { // it quotes what was answered
		return errors.New(strings.ToValidUTF8(text[:maxReason], "") + "…")
	}
	return err
}

// isSocket returns why path is no socket, if it is none.
func isSocket(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is no socket", path)
	}
	return nil
}

// find returns the sockets that are there, the machine's own before those of users.
func (o *Options) find() (paths []string) {
	var infos []os.FileInfo
	add := func(path string, info os.FileInfo, err error) {
		if err != nil || info.Mode()&os.ModeSocket == 0 {
			return
		}
		for _, other := range infos {
			if os.SameFile(other, info) {
				return // /var/run is /run, and docker.sock may be Podman's
			}
		}
		infos, paths = append(infos, info), append(paths, path)
	}
	if len(o.Sockets) > 0 {
		for _, path := range o.Sockets {
			info, err := os.Stat(path)
			add(path, info, err)
		}
		return paths
	}
	for _, name := range [...]string{"run/docker.sock", "var/run/docker.sock", "run/podman/podman.sock"} {
		path := filepath.Join(o.Root, name)
		info, err := os.Stat(path)
		add(path, info, err)
	}
	for _, uid := range users(filepath.Join(o.Root, "run/user")) {
		for _, name := range [...]string{"docker.sock", "podman/podman.sock"} {
			path := filepath.Join(o.Root, "run/user", uid, name)
			// A user must not lead us elsewhere, nor speak for another.
			info, err := os.Lstat(path)
			if err == nil && owner(info) != uid {
				continue
			}
			add(path, info, err)
		}
	}
	return paths
}

// users returns the directories of users that are logged in.
func users(dir string) (uids []string) {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close() //nolint:errcheck // nothing was written
	names, err := d.Readdirnames(maxUsers)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			uids = append(uids, name)
		}
	}
	return uids
}

// owner returns the uid a file belongs to.
func owner(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return strconv.FormatUint(uint64(st.Uid), 10)
	}
	return ""
}

// isID reports whether s is a container id as Docker and Podman make them.
func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isVersion reports whether s is a version of the API, such as 1.44.
func isVersion(s string) bool {
	major, minor, ok := strings.Cut(s, ".")
	_, err := strconv.ParseUint(major, 10, 16)
	_, err2 := strconv.ParseUint(minor, 10, 16)
	return ok && err == nil && err2 == nil
}
