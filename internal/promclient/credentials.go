package promclient

import (
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/prometheus/common/config"
)

// Credentials say who asks and whom to believe. They come from the
// environment; secrets in them never reach a log or an error.
type Credentials struct {
	Username     string
	Password     config.Secret
	PasswordFile string
	Token        config.Secret
	TokenFile    string
	CAFile       string
	CertFile     string
	KeyFile      string
	ServerName   string
	Tenant       string // sent to the query API as X-Scope-OrgID, for Mimir and its like

	prefix string // of the variables, for advice
}

// Format prints no credentials, whatever the verb.
func (Credentials) Format(s fmt.State, _ rune) {
	io.WriteString(s, "***") //nolint:errcheck // a Formatter cannot return an error
}

// FromEnvironment reads the variables PREFIX_USERNAME, PREFIX_PASSWORD or
// PREFIX_PASSWORD_FILE, PREFIX_BEARER_TOKEN or PREFIX_BEARER_TOKEN_FILE,
// PREFIX_CA_FILE, PREFIX_CERT_FILE and PREFIX_KEY_FILE, PREFIX_SERVER_NAME,
// PREFIX_TENANT.
// Files are read at each request, so that a rotated token is seen.
func FromEnvironment(getenv func(string) string, prefix string) (Credentials, error) {
	c := Credentials{
		Username:     getenv(prefix + "_USERNAME"),
		Password:     config.Secret(getenv(prefix + "_PASSWORD")),
		PasswordFile: getenv(prefix + "_PASSWORD_FILE"),
		Token:        config.Secret(getenv(prefix + "_BEARER_TOKEN")),
		TokenFile:    getenv(prefix + "_BEARER_TOKEN_FILE"),
		CAFile:       getenv(prefix + "_CA_FILE"),
		CertFile:     getenv(prefix + "_CERT_FILE"),
		KeyFile:      getenv(prefix + "_KEY_FILE"),
		ServerName:   getenv(prefix + "_SERVER_NAME"),
		Tenant:       getenv(prefix + "_TENANT"),
		prefix:       prefix,
	}
	basic, bearer := c.Username != "", c.Token != "" || c.TokenFile != ""
	switch {
	case basic && bearer:
		return c, fmt.Errorf("read credentials: both %[1]s_USERNAME and a bearer token are set: unset one", prefix)
	case c.Password != "" && c.PasswordFile != "":
		return c, fmt.Errorf("read credentials: both %[1]s_PASSWORD and %[1]s_PASSWORD_FILE are set: unset one", prefix)
	case c.Token != "" && c.TokenFile != "":
		return c, fmt.Errorf("read credentials: both %[1]s_BEARER_TOKEN and %[1]s_BEARER_TOKEN_FILE are set: unset one", prefix)
	case !basic && (c.Password != "" || c.PasswordFile != ""):
		return c, fmt.Errorf("read credentials: %[1]s_PASSWORD is set without %[1]s_USERNAME", prefix)
	case basic && c.Password == "" && c.PasswordFile == "":
		return c, fmt.Errorf("read credentials: %[1]s_USERNAME is set without %[1]s_PASSWORD or %[1]s_PASSWORD_FILE", prefix)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return c, fmt.Errorf("read credentials: %[1]s_CERT_FILE and %[1]s_KEY_FILE go together: set both", prefix)
	}
	return c, nil
}

// advice says how to be let in.
func (c Credentials) advice() string {
	p := c.prefix
	switch {
	case p == "":
		return "credentials are wrong or missing"
	case c.TokenFile != "":
		return fmt.Sprintf("look at the token in %s (%s_BEARER_TOKEN_FILE)", c.TokenFile, p)
	case c.Token != "":
		return fmt.Sprintf("look at the token in %s_BEARER_TOKEN", p)
	case c.PasswordFile != "":
		return fmt.Sprintf("look at %s_USERNAME and the password in %s (%[1]s_PASSWORD_FILE)", p, c.PasswordFile)
	case c.Username != "":
		return fmt.Sprintf("look at %[1]s_USERNAME and %[1]s_PASSWORD", p)
	}
	return fmt.Sprintf("set %[1]s_USERNAME and %[1]s_PASSWORD, or %[1]s_BEARER_TOKEN_FILE, in the environment", p)
}

func (c Credentials) http() config.HTTPClientConfig {
	h := config.HTTPClientConfig{
		// A redirect would carry the credentials to whoever it names.
		FollowRedirects: false,
		EnableHTTP2:     true,
		ProxyConfig:     config.ProxyConfig{ProxyFromEnvironment: true},
		TLSConfig:       config.TLSConfig{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, ServerName: c.ServerName},
	}
	if c.Username != "" {
		h.BasicAuth = &config.BasicAuth{Username: c.Username, Password: c.Password, PasswordFile: c.PasswordFile}
	}
	if c.Token != "" || c.TokenFile != "" {
		h.Authorization = &config.Authorization{Type: "Bearer", Credentials: c.Token, CredentialsFile: c.TokenFile}
	}
	return h
}

// CheckURL returns the address of a server, or why it is none. Credentials in
// it are refused: an address is printed, logged and kept in manifests.
func CheckURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		// The parser's error repeats the address, with a password that may be in it.
		return nil, errors.New("read the address of Prometheus: it is no URL")
	case u.User != nil:
		return nil, errors.New("read the address of Prometheus: it holds credentials: put them into the environment, PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("read the address of Prometheus: %q is no http or https URL such as http://prometheus:9090", address)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("read the address of Prometheus: %q has a part after its path: leave it out", u.Redacted())
	}
	return u, nil
}
