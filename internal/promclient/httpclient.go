package promclient

import (
	"fmt"
	"net/http"

	"github.com/prometheus/common/config"
)

// HTTPClient returns a client that shows these credentials, for servers beside
// the query API. Who uses it must not follow redirects: they would carry the
// credentials away.
func (c Credentials) HTTPClient(userAgent string) (*http.Client, error) {
	client, err := config.NewClientFromConfig(c.http(), "noether", config.WithUserAgent(userAgent))
	if err != nil {
		return nil, fmt.Errorf("prepare requests with the credentials of %s_…: %w", c.prefix, err)
	}
	return client, nil
}
