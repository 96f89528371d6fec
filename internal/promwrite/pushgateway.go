package promwrite

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// Pushgateway replaces a group of a Prometheus Pushgateway by PUT. It is for
// one goroutine at a time.
type Pushgateway struct {
	s *sender
}

// NewPushgateway returns a writer of the group that labels name below the
// gateway at h.URL; the first of them is the job.
func NewPushgateway(h HTTP, group ...Label) (*Pushgateway, error) {
	s, err := newSender(h)
	if err != nil {
		return nil, err
	}
	if len(group) == 0 || group[0].Name != "job" || group[0].Value == "" {
		return nil, fmt.Errorf("write to %s: a group starts with a job", s.shown)
	}
	path := []string{"/metrics"}
	for _, l := range group {
		if !IsLabelName(l.Name) {
			return nil, fmt.Errorf("write to %s: %q is no label name", s.shown, l.Name)
		}
		path = append(path, segment(l))
	}
	below := strings.Join(path, "/")
	base, query, hasQuery := strings.Cut(s.URL, "?")
	s.URL = strings.TrimRight(base, "/") + below
	if hasQuery {
		s.URL += "?" + query
	}
	s.shown = strings.TrimRight(s.shown, "/") + below
	return &Pushgateway{s}, nil
}

// segment returns a label as two segments of a path. Values that a path does
// not carry unharmed are in base64 (Pushgateway's README, "URL").
func segment(l Label) string {
	const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~" // RFC 3986, section 2.3
	switch {
	case l.Value == "":
		return l.Name + "@base64/="
	case strings.Trim(l.Value, unreserved) == "" && strings.Trim(l.Value, ".") != "":
		return l.Name + "/" + l.Value
	}
	return l.Name + "@base64/" + base64.RawURLEncoding.EncodeToString([]byte(l.Value))
}

// String names the group's URL.
func (p *Pushgateway) String() string { return p.s.shown }

// Write replaces everything in the group. The times of samples are left out:
// the gateway refuses them.
func (p *Pushgateway) Write(ctx context.Context, families []Family) error {
	if err := Check(families); err != nil {
		return err
	}
	body, err := text(families)
	if err != nil {
		return err
	}
	a, err := p.s.send(ctx, http.MethodPut, p.s.URL, http.Header{"Content-Type": {"text/plain; version=0.0.4; charset=utf-8"}}, body)
	switch {
	case err != nil:
		return err
	case !a.ok():
		return p.s.refused(a, "no Pushgateway at this address: give its base URL, with its --web.route-prefix if it has one")
	}
	return nil
}
