package promclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// Stream sends one request of the API, once, and returns the body of a success
// as it comes, for the caller to bound, read and close; ctx bounds both the
// request and the reading. The endpoint begins with /api/ and is sent as it is.
// Nothing is sent but the form and these credentials. Any answer but a success
// is an *Error.
func (c *Client) Stream(ctx context.Context, method, endpoint string, form url.Values) (io.ReadCloser, error) {
	u := transport{c}.URL(endpoint, nil)
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else {
		query := u.Query()
		maps.Copy(query, form)
		u.RawQuery = query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus at %s: %w", c.URL(), err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	e := &Error{URL: c.URL()}
	resp, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // it repeats the address, with the query
		}
		return nil, c.network(e, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close() //nolint:errcheck // it is of no more use
	said, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		said = nil
	}
	return nil, c.answer(e, resp, said)
}

// Broken makes an error of an answer whose body could not be read to its end.
func (c *Client) Broken(err error) *Error { return c.network(&Error{URL: c.URL()}, err) }

// NotTheAPI makes an error of an answer that nobody expects of the API.
func (c *Client) NotTheAPI(beginning []byte) *Error {
	e := &Error{URL: c.URL(), Status: http.StatusOK, Text: "the answer is no JSON of the Prometheus API: " + shorten(string(beginning), 100)}
	switch text := strings.ToLower(strings.TrimSpace(string(beginning))); {
	case text == "":
		e.Text = "the answer is empty"
	case strings.HasPrefix(text, "<"):
		e.Text = "it answers with a web page"
		e.Advice = "is this the address of a Prometheus, with the path where its API is, and does a login stand in front? " + c.credentials.advice()
	}
	return e
}
