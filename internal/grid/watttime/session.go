package watttime

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"noether/internal/grid/fetch"
)

const (
	// lifetime is how long a token is good for.
	lifetime = 30 * time.Minute
	// reserve is how long before that a new one is asked for.
	reserve = 2 * time.Minute
	// mostToken is far more than a token has.
	mostToken = 8 << 10
)

// session holds the token of a login. It is safe for concurrent use, and however
// many want a token, one at a time asks for it.
type session struct {
	client *fetch.Client
	secret fetch.Secret
	now    func() time.Time

	mu      sync.Mutex
	current string
	until   time.Time
	login   *login // under way, or nil
}

type login struct {
	done  chan struct{} // closed when the fields below are set
	token string
	err   error
}

// token returns one that is not stale, the one that the service has refused.
func (s *session) token(ctx context.Context, stale string) (string, error) {
	for {
		s.mu.Lock()
		if s.current != "" && s.current != stale && s.now().Before(s.until) {
			defer s.mu.Unlock()
			return s.current, nil
		}
		if l := s.login; l != nil {
			s.mu.Unlock()
			select {
			case <-l.done:
			case <-ctx.Done():
				return "", fmt.Errorf("wait for the login to WattTime: %w", ctx.Err())
			}
			if errors.Is(l.err, context.Canceled) || errors.Is(l.err, context.DeadlineExceeded) {
				continue // whoever asked had less time than we have
			}
			return l.token, l.err
		}
		l := &login{done: make(chan struct{})}
		s.login = l
		s.mu.Unlock()
		asked := s.now()
		l.token, l.err = s.ask(ctx)
		s.mu.Lock()
		s.login, s.current, s.until = nil, l.token, asked.Add(lifetime-reserve)
		s.mu.Unlock()
		close(l.done)
		return l.token, l.err
	}
}

// ask logs in. Errors hold neither the password nor the token.
func (s *session) ask(ctx context.Context) (string, error) {
	secret, err := s.secret.Read()
	if err != nil {
		return "", err
	}
	if user, password, ok := strings.Cut(secret, ":"); !ok || user == "" || password == "" {
		return "", fmt.Errorf("log in to WattTime: %s does not hold user:password", s.secret.Where())
	}
	header := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(secret))}}
	var a struct {
		Token string `json:"token"`
	}
	if err := s.client.JSON(ctx, "login", nil, header, &a); err != nil {
		return "", fmt.Errorf("log in to WattTime: %w", err)
	}
	if a.Token == "" || len(a.Token) > mostToken || strings.ContainsFunc(a.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("log in to WattTime: the answer has no token")
	}
	return a.Token, nil
}
