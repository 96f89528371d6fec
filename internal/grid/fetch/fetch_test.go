package fetch

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func TestJSON(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v3/latest" || r.URL.RawQuery != "zone=DE" || r.Header.Get("auth-token") != "t" {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		w.Write([]byte(`{"zone":"DE","carbonIntensity":322.5}`)) //nolint:errcheck // a test server
	}))
	defer server.Close()
	c, err := New(Options{Base: server.URL + "/v3"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got struct{ CarbonIntensity float64 }
	if err := c.JSON(t.Context(), "latest", url.Values{"zone": {"DE"}}, http.Header{"auth-token": {"t"}}, &got); err != nil || got.CarbonIntensity != 322.5 {
		t.Errorf("%v %v", got, err)
	}
}
