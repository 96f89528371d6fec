package promwrite

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// refusal is a way in which receivers refuse samples, and what mends it.
type refusal struct {
	texts  []string // any of them, lower case, in the answer
	remedy string
}

// refusals returns what Prometheus (storage/interface.go), Thanos Receive (the
// same texts) and Mimir (pkg/util/globalerror) say of samples that they do not
// take. Specific texts come first. VictoriaMetrics is not among them: it takes
// every sample, and drops those outside of -retentionPeriod silently.
func refusals() []refusal {
	return []refusal{
		{
			[]string{"duplicate sample for timestamp", "err-mimir-sample-duplicate-timestamp", "with the same timestamp, but a different value"},
			"another value was written for the same series and time before, and stored samples do not change: publish this result under another name or label, or delete the old series",
		},
		{
			[]string{"too far in the future", "err-mimir-too-far-in-future"},
			"the window ends later than the receiver's clock allows (Mimir: limits.creation_grace_period): compare the clocks",
		},
		{
			[]string{"err-mimir-too-far-in-past", "too far in the past"},
			"the window is older than Mimir takes: raise limits.past_grace_period, and limits.out_of_order_time_window with it",
		},
		{
			[]string{"too old sample", "err-mimir-sample-timestamp-too-old", "timestamp is too old", "too old"},
			"the window is older than the receiver takes: " + raise,
		},
		{
			[]string{"out of bounds", "out-of-bounds"},
			"the window is older than what the receiver holds in memory: " + raise,
		},
		{
			[]string{"out of order sample", "out-of-order", "out of order"},
			"a newer window of these series is there already: publish windows from the oldest to the newest, or " + raise,
		},
	}
}

const raise = "raise storage.tsdb.out_of_order_time_window in Prometheus' configuration (Thanos Receive: --tsdb.out-of-order.time-window, Mimir: limits.out_of_order_time_window)"

// remedyFor returns what mends a refusal of samples, "" if answer is none. Some
// receivers refuse with a status of the 500s, for what no other try will change.
func remedyFor(answer string) string {
	answer = strings.ToLower(answer)
	for _, r := range refusals() {
		if slices.ContainsFunc(r.texts, func(t string) bool { return strings.Contains(answer, t) }) {
			return r.remedy
		}
	}
	return ""
}

// refused words an answer that is no success. NotFound tells what a 404 means
// with this kind of receiver.
func (s *sender) refused(a *answer, notFound string) error {
	var remedy string
	switch a.status {
	case http.StatusUnauthorized:
		remedy = "give username and password, or a token, by file or environment"
	case http.StatusForbidden:
		remedy = "these credentials may not write here"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		remedy = notFound
	case http.StatusRequestEntityTooLarge:
		remedy = "the request is larger than the receiver or a proxy before it takes: choose fewer components"
	default:
		remedy = remedyFor(a.text)
		if a.status/100 == 3 {
			remedy = "writes do not follow redirects: give the URL that it leads to"
		}
	}
	if remedy != "" {
		remedy = ": " + remedy
	}
	return fmt.Errorf("write to %s: answers %s%s", s.shown, describe(a), remedy)
}
