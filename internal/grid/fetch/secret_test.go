package fetch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	at := time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)
	write(t, path, "  first\r\n", at)
	s := File(path)
	copied := s
	for _, c := range []struct {
		text string
		at   time.Time
	}{{"first", at}, {"second", at.Add(time.Second)}, {"longer third", at.Add(time.Second)}} {
		write(t, path, c.text+"\n", c.at)
		for range 2 {
			if got, err := s.Read(); err != nil || got != c.text {
				t.Errorf("%q %v, want %q", got, err, c.text)
			}
			if got, err := copied.Read(); err != nil || got != c.text {
				t.Errorf("a copy has %q %v", got, err)
			}
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a file that is gone: %v", err)
	}
}

// TestKubernetesRotation swaps a directory by a symbolic link, as secrets that
// are mounted are renewed.
func TestKubernetesRotation(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)
	for i, v := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, v, "token"), v, at.Add(time.Duration(i)*time.Second))
	}
	link := filepath.Join(dir, "data")
	s := File(filepath.Join(link, "token"))
	for _, v := range []string{"one", "two"} {
		if err := os.Symlink(v, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(); err != nil || got != v {
			t.Errorf("%q %v, want %q", got, err, v)
		}
	}
}

func TestFilesThatHaveNone(t *testing.T) {
	for name, text := range map[string]string{
		"empty":         "",
		"only a line":   "\n",
		"two lines":     token + "\n" + token,
		"binary":        token + "\x00",
		"a whole movie": strings.Repeat(token, mostSecret),
	} {
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, text, time.Now())
		got, err := File(path).Read()
		if err == nil || got != "" || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if _, err := File(t.TempDir()).Read(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := (Secret{}).Read(); err == nil {
		t.Error("no secret is one")
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{"TOKEN": " " + token + "\n", "NONE": " "}
	get := func(name string) string { return env[name] }
	if got, err := Environment(get, "TOKEN").Read(); err != nil || got != token {
		t.Errorf("%q %v", got, err)
	}
	if !Environment(get, "NONE").IsZero() || !Environment(get, "MISSING").IsZero() {
		t.Error("an empty variable is a secret")
	}
}

func TestExposed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, token, time.Now())
	if s := File(path).Exposed(); s != "" {
		t.Errorf("0600: %s", s)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // what is to be noticed
		t.Fatal(err)
	}
	if s := File(path).Exposed(); !strings.Contains(s, "chmod 600 "+path) || strings.Contains(s, token) {
		t.Errorf("0644: %q", s)
	}
	if s := Text(token).Exposed(); s != "" {
		t.Errorf("no file: %s", s)
	}
}

func TestSecretsHide(t *testing.T) {
	for _, s := range []Secret{Text(token), Environment(func(string) string { return token }, "X")} {
		type options struct {
			Base  string
			Token Secret
			More  *Secret
		}
		o := options{"https://api.example", s, &s}
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, &s, o)
		}
		fmt.Fprintln(&out, s.String(), s.GoString(), s.Where())
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("test", slog.Any("token", s), slog.Any("options", o))
		}
		if err := json.NewEncoder(&out).Encode(o); err != nil {
			t.Error(err)
		}
		for _, form := range []string{token, fmt.Sprintf("%x", token), fmt.Sprintf("%d", []byte(token))} {
			if strings.Contains(out.String(), form) {
				t.Errorf("a secret is shown:\n%s", out.String())
			}
		}
		if !strings.Contains(out.String(), hidden) {
			t.Errorf("nothing says that there is one:\n%s", out.String())
		}
	}
}
