package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/web/promapi"
)

// question is a query of the page, as its tests write it down.
type question struct {
	Name    string  `json:"name"`
	Expr    string  `json:"expr"`
	Type    string  `json:"type"` // instant or range
	Step    float64 `json:"step"` // seconds
	Seconds float64 `json:"range_seconds"`
}

func readQuestions(file string) (list []question, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}
	return list, nil
}

// answer is how long a question took.
type answer struct {
	question
	took   []time.Duration
	cpu    []time.Duration // of this process, so the client's too
	bytes  int
	failed string
}

// asked is what asking cost.
type asked struct {
	answers []answer
	peak    uint64
	resting uint64 // resident before the first question
	opening time.Duration
}

// ask asks every question as often as wanted, over HTTP on this machine, at
// the end of the history.
func ask(ctx context.Context, o *options, questions []question) (out asked, err error) {
	began := time.Now()
	s, closeStore, err := open(ctx, o, time.Now, io.Discard)
	if err != nil {
		return out, err
	}
	out.opening = time.Since(began)
	end := s.Status().Newest.Add(-time.Millisecond) // then, each series was marked as ended
	if out.resting, err = resident(); err != nil {
		return out, err
	}
	server := httptest.NewServer(promapi.New(promapi.Options{Queryable: s.Queryable, Now: func() time.Time { return end }, Log: slog.New(slog.DiscardHandler)}))
	defer server.Close()
	for _, q := range questions {
		if q.Seconds > o.days*86400 {
			continue
		}
		a := answer{question: q}
		for range o.repeat {
			began, cpu := time.Now(), cpuTime(unix.RUSAGE_SELF)
			n, err := get(ctx, server.Client(), server.URL, &q, end)
			a.took = append(a.took, time.Since(began))
			a.cpu = append(a.cpu, cpuTime(unix.RUSAGE_SELF)-cpu)
			a.bytes = n
			if err != nil {
				a.failed = err.Error()
				break
			}
			now, err := resident()
			if err != nil {
				return out, err
			}
			out.peak = max(out.peak, now)
		}
		out.answers = append(out.answers, a)
	}
	return out, closeStore()
}

func get(ctx context.Context, client *http.Client, base string, q *question, end time.Time) (int, error) {
	form := url.Values{"query": {q.Expr}}
	path := "/api/v1/query"
	if q.Type == "range" {
		path = "/api/v1/query_range"
		form.Set("start", seconds(end.Add(-time.Duration(q.Seconds*float64(time.Second)))))
		form.Set("end", seconds(end))
		form.Set("step", strconv.FormatFloat(q.Step, 'f', -1, 64))
	} else {
		form.Set("time", seconds(end))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text[:min(len(text), 200)])
	}
	return len(text), err
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64) }

// at returns the quantile q of the durations, which it sorts.
func at(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(q*float64(len(list))))]
}
