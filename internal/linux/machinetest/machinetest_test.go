package machinetest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUnpack(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "m.txtar")
	if err := os.WriteFile(archive, []byte(`a comment
-- a/intel-rapl:0/name --
package-0
-- a/secret 0400 --
1
-- a/empty/ --
-- class/x -> ../a/intel-rapl:0 --
-- class/gone -> ../nowhere --
`), 0o600); err != nil {
		t.Fatal(err)
	}
	root := Unpack(t, archive)
	if got, err := os.ReadFile(filepath.Join(root, "class/x/name")); err != nil || string(got) != "package-0\n" {
		t.Errorf("through the link: %q, %v", got, err)
	}
	if fi, err := os.Stat(filepath.Join(root, "a/secret")); err != nil || fi.Mode().Perm() != 0o400 {
		t.Errorf("mode: %v, %v", fi, err)
	}
	if fi, err := os.Stat(filepath.Join(root, "a/empty")); err != nil || !fi.IsDir() {
		t.Errorf("directory: %v, %v", fi, err)
	}
	if _, err := os.Stat(filepath.Join(root, "class/gone")); !os.IsNotExist(err) {
		t.Errorf("dangling link: %v", err)
	}
	path := filepath.Join(root, "class/x/name")
	open, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	Write(t, path, "other\n")
	buf := make([]byte, 32)
	if n, _ := open.Read(buf); string(buf[:n]) != "other\n" {
		t.Errorf("an open descriptor reads %q", buf[:n])
	}
	for _, bad := range []string{"-- ../x --\n", "-- a b c d --\n", "-- a 999 --\n"} {
		if err := unpack(t.TempDir(), bad); err == nil {
			t.Errorf("unpacked %q", bad)
		}
	}
}
