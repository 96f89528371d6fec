package login

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/identity"
)

func TestParse(t *testing.T) {
	text := `root:x:0:0:root:/root:/bin/bash
toor:x:0:0:second name of root:/root:/bin/sh
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
# comment:x:7:7
+nis:x:8:8::
-:x:9:9::
+::::::
:x:10:10:no name:/:
nouid:x::
negative:x:-1:1::
large:x:4294967296:1::
short:x
` + "b\xff\xfe:x:11:11::\nlast:x:12:12:no newline"
	want := map[uint32]string{0: "root", 1000: "alice", 11: "b\uFFFD", 12: "last"}
	if diff := cmp.Diff(want, parse([]byte(text))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	n := Open(path)
	expect := func(uid, want string) {
		t.Helper()
		if got := n.Name(uid); got != want {
			t.Errorf("Name(%q) = %q, want %q", uid, got, want)
		}
	}
	expect("1000", "1000") // no file

	if err := os.WriteFile(path, []byte("alice:x:1000:1000::/:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("1000", "alice") // the file has appeared
	expect("1001", "1001")
	expect("nobody", "nobody")

	if err := os.WriteFile(path, []byte("alice:x:1000:1000::/:\nbob:x:1001:1001::/:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("1001", "bob") // a user was added

	if err := os.WriteFile(path, []byte("alice:x:1000:1000::/:\neve:x:1002:1001::/:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	expect("1002", "eve") // the same size, another time

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("1000", "alice") // what was known stays known
}

func TestParseIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range maxUsers + 10 {
		b.WriteString("u:x:")
		for _, d := range []int{100000, 10000, 1000, 100, 10, 1} {
			b.WriteByte(byte('0' + i/d%10))
		}
		b.WriteString(":0::/:\n")
	}
	if got := len(parse([]byte(b.String()))); got != maxUsers {
		t.Errorf("%d users", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/bash\n"))
	f.Add([]byte("+::::::\n\n:::\na:b:1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for uid, name := range parse(text) {
			if name == "" || !utf8.ValidString(name) || len(name) > identity.MaxLabel {
				t.Errorf("uid %d: %q is no label", uid, name)
			}
		}
	})
}
