package promapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// large is the path of an answer of some megabytes.
var large = "/api/v1/query_range?" + params("query", `{__name__=~".+"}`, "start", unix(start), "end", unix(now), "step", "0.35")

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// withSmallBuffers serves h so that next to nothing of an answer is on its way.
func withSmallBuffers(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
			_ = tcp.SetWriteBuffer(64 << 10)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// slow asks for a path and reads the header of the answer, and no more until
// the body is read. The connection is closed at the end of the test.
func slow(t *testing.T, s *httptest.Server, path string) *http.Response {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Clients that do not read their answers keep nobody from asking.
func TestSlowReadersHoldNoSlot(t *testing.T) {
	s := withSmallBuffers(t, served(t, openStore(t), Limits{Queries: 1}))
	var all []*http.Response
	for range 6 {
		r := slow(t, s, large) //nolint:bodyclose // the connection is closed
		if r.StatusCode != http.StatusOK || r.ContentLength < 2<<20 {
			t.Fatalf("%s, %d bytes", r.Status, r.ContentLength)
		}
		all = append(all, r) //nolint:bodyclose // likewise
	}
	if w := ask(t, s.Config.Handler, "GET /api/v1/query?query=odd"); w.Code != http.StatusOK {
		t.Errorf("while six read slowly: %d %s", w.Code, w.Body)
	}
	for _, r := range all {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != r.ContentLength {
			t.Errorf("%d of %d bytes, %v", n, r.ContentLength, err)
		}
	}
}

// What is more than may be kept is sent while its query is open, but not for ever.
func TestASlowReaderOfTooMuchIsCutOff(t *testing.T) {
	s := withSmallBuffers(t, served(t, openStore(t), Limits{Queries: 1, Kept: 1 << 20, Send: 50 * time.Millisecond, Wait: time.Minute}))
	r := slow(t, s, large) //nolint:bodyclose // the connection is closed
	if r.ContentLength != -1 {
		t.Errorf("%d bytes were kept", r.ContentLength)
	}
	if w := ask(t, s.Config.Handler, "GET /api/v1/query?query=odd"); w.Code != http.StatusOK {
		t.Errorf("after one that is too slow: %d %s", w.Code, w.Body)
	}
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		t.Error("a part looks whole")
	}
}

// The room for answers comes back, whatever becomes of their clients.
func TestRoomForAnswersComesBack(t *testing.T) {
	path := strings.Replace(large, "step=0.35", "step=1.5", 1)
	h := served(t, openStore(t), Limits{})
	want := int64(ask(t, h, "GET "+path).Body.Len())
	s := withSmallBuffers(t, served(t, openStore(t), Limits{Kept: int(keepers * want), Wait: time.Minute}))
	for range 30 {
		for range keepers {
			r := slow(t, s, path) //nolint:bodyclose // the connection is closed
			if r.ContentLength != want && r.ContentLength != -1 {
				t.Errorf("length %d, want %d", r.ContentLength, want)
			}
		}
		s.CloseClientConnections()
	}
	deadline := time.Now().Add(20 * time.Second)
	for length := int64(-1); length != want; {
		if time.Now().After(deadline) {
			t.Fatalf("length %d, want %d", length, want)
		}
		r := slow(t, s, path) //nolint:bodyclose // the connection is closed
		length = r.ContentLength
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// Hundreds of queries that are large, refused, broken or given up leave neither
// memory nor goroutines behind.
func TestHundredsOfHeavyQueriesLeaveNothing(t *testing.T) {
	db := openStore(t)
	h := served(t, db, Limits{Samples: 100_000, Wait: time.Minute})
	lines := []string{
		"GET " + strings.Replace(large, "step=0.35", "step=2", 1),
		"GET /api/v1/query?" + params("query", `sum by (__name__) (rate({__name__=~"noether.+"}[30m]))`),
		"GET /api/v1/query_range?" + params("query", `max_over_time(noether_node_joules_total[1h:10s])`, "start", unix(start), "end", unix(now), "step", "10"), // too much
		"GET /api/v1/query?" + params("query", `noether_node_joules_total * on () odd`),                                                                        // no answer
		"GET /api/v1/query?query=sum(",
		"GET /api/v1/series?" + params("match[]", `{__name__=~".+"}`),
		"GET /federate?" + params("match[]", `{__name__=~".+"}`),
	}
	codes := map[int]int{}
	round := func() {
		var group sync.WaitGroup
		var mu sync.Mutex
		for i := range 140 {
			if i%20 == 19 {
				group.Wait() // twenty at once
			}
			group.Go(func() {
				method, path, _ := strings.Cut(lines[i%len(lines)], " ")
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 { // given up at some time
					go func() { runtime.Gosched(); cancel() }()
				}
				defer cancel()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, nil))
				mu.Lock()
				codes[w.Code]++
				mu.Unlock()
			})
		}
		group.Wait()
	}
	measure := func() (heap uint64, goroutines int) {
		runtime.GC()
		runtime.GC() // pools are emptied by the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	round()
	heap, goroutines := measure()
	for range 4 {
		round()
	}
	heapAfter, after := measure()
	for deadline := time.Now().Add(time.Minute); after > goroutines && time.Now().Before(deadline); _, after = measure() {
		time.Sleep(time.Millisecond)
	}
	if after > goroutines {
		t.Errorf("%d goroutines, and %d after 560 more queries", goroutines, after)
	}
	if heapAfter > heap+1<<20 {
		t.Errorf("%d bytes, and %d after 560 more queries", heap, heapAfter)
	}
	t.Logf("700 queries: %v; heap %d then %d kB, goroutines %d then %d", codes, heap>>10, heapAfter>>10, goroutines, after)
	for _, code := range []int{http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity} {
		if codes[code] == 0 {
			t.Errorf("no answer has code %d", code)
		}
	}
}
