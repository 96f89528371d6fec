package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// mostSecret is the largest file that is taken for one with a token in it.
const mostSecret = 16 << 10

// Secret is a token or a password that somebody else keeps: a file or the
// environment. It prints as *** whatever the verb, so that it can be part of
// options that are printed. The zero value is no secret. It is safe for
// concurrent use; copies share what was read.
type Secret struct{ s *secret }

type secret struct {
	where string // for errors
	path  string // of a file, read again when it changes

	mu    sync.Mutex
	value string
	stamp time.Time
	size  int64
}

// File returns the secret in a file, without the space around it. The file is
// read at each use after it changed, so that a rotated token is seen.
func File(path string) Secret {
	return Secret{&secret{where: path, path: path}}
}

// Environment returns the secret in a variable of the environment, the zero
// Secret if it is not set.
func Environment(getenv func(string) string, name string) Secret {
	v := strings.TrimSpace(getenv(name))
	if v == "" {
		return Secret{}
	}
	return Secret{&secret{where: "the environment variable " + name, value: v}}
}

// Text returns a secret that is known already.
func Text(value string) Secret {
	return Secret{&secret{where: "a value", value: value}}
}

// IsZero tells whether there is no secret at all.
func (s Secret) IsZero() bool { return s.s == nil }

// Where says where the secret comes from: a path, or a variable's name.
func (s Secret) Where() string {
	if s.s == nil {
		return "nowhere"
	}
	return s.s.where
}

// Read returns the secret. It is one line of printable text. Errors name the
// file, never what is in it.
func (s Secret) Read() (string, error) {
	if s.s == nil {
		return "", errors.New("read a token: none is configured")
	}
	if s.s.path == "" {
		return check(s.s.where, s.s.value)
	}
	return s.s.read()
}

func (s *secret) read() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.path)
	if err != nil {
		return "", unreadable(s.path, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("read the token in %s: it is not a regular file", s.path)
	}
	if s.value != "" && info.ModTime().Equal(s.stamp) && info.Size() == s.size {
		return s.value, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return "", unreadable(s.path, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, mostSecret+1))
	if err != nil {
		return "", unreadable(s.path, err)
	}
	if len(data) > mostSecret {
		return "", fmt.Errorf("read the token in %s: the file is larger than %d KiB: is it the right one?", s.path, mostSecret>>10)
	}
	v, err := check(s.path, string(bytes.TrimSpace(data)))
	if err != nil {
		return "", err
	}
	s.value, s.stamp, s.size = v, info.ModTime(), info.Size()
	return v, nil
}

func unreadable(path string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	advice := "write the token into it, readable only by who runs Noether (mode 0600)"
	if errors.Is(err, fs.ErrPermission) {
		advice = "let the user who runs Noether own it, with mode 0600"
	}
	return fmt.Errorf("read the token in %s: %w; %s", path, err, advice)
}

// check refuses what no header can carry; the text is not part of the error.
func check(where, v string) (string, error) {
	if v == "" {
		return "", fmt.Errorf("read the token in %s: there is nothing in it: write the token into it", where)
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("read the token in %s: it is not one line of text: is it the right file?", where)
	}
	return v, nil
}

// Exposed tells why a file's mode shows its secret to others, "" if it does not.
func (s Secret) Exposed() string {
	if s.s == nil || s.s.path == "" {
		return ""
	}
	info, err := os.Stat(s.s.path)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("every user of the machine can read the token in %s: chmod 600 %[1]s", s.s.path)
}

const hidden = "***"

// String hides the secret.
func (s Secret) String() string {
	if s.s == nil {
		return ""
	}
	return hidden
}

// Format hides the secret from every verb.
func (s Secret) Format(f fmt.State, _ rune) {
	io.WriteString(f, s.String()) //nolint:errcheck // a Formatter cannot return an error
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
