package ndjson

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
)

// again returns what a snapshot reads as after it was written.
func again(t *testing.T, s *snapshot.Snapshot) (line []byte, read *snapshot.Snapshot) {
	t.Helper()
	line = Append(nil, s)
	read, err := Decode(line)
	if err != nil {
		t.Fatal(err)
	}
	return line, read
}

func TestDecodeReadsWhatAppendWrote(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	list := []*snapshot.Snapshot{exporttest.Snapshot(), {}, exporttest.Large(100)}
	for range 300 {
		list = append(list, exporttest.Random(r))
	}
	for i, s := range list {
		line, read := again(t, s)
		if diff := cmp.Diff(strings.Split(string(line), "},"), strings.Split(string(Append(nil, read)), "},")); diff != "" {
			t.Fatalf("snapshot %d (-written +written again):\n%s", i, diff)
		}
	}
}

// What is not in the text of another line is compared as values.
func TestDecodeKeepsValues(t *testing.T) {
	s := exporttest.Snapshot()
	_, read := again(t, s)
	if diff := cmp.Diff(s.Pods, read.Pods); diff != "" {
		t.Errorf("pods:\n%s", diff)
	}
	if diff := cmp.Diff(s.Containers[0].Owner, read.Containers[0].Owner); diff != "" {
		t.Errorf("a container in a pod:\n%s", strings.ToValidUTF8(diff, "?"))
	}
	if diff := cmp.Diff(s.Nodes, read.Nodes); diff != "" {
		t.Errorf("nodes:\n%s", diff)
	}
	if diff := cmp.Diff(s.Bands, read.Bands); diff != "" {
		t.Errorf("bands:\n%s", diff)
	}
	for i := range s.System {
		if diff := cmp.Diff(s.System[i].Total, read.System[i].Total); diff != "" {
			t.Errorf("system account %d:\n%s", i, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"nothing":         {"", "read a snapshot: unexpected end of JSON input"},
		"a page":          {"<html>", "read a snapshot: invalid character '<' looking for beginning of value"},
		"another schema":  {`{"schema":"noether.snapshot/v2"}`, `read a snapshot: its schema is "noether.snapshot/v2" and not "noether.snapshot/v1"`},
		"text for joules": {`{"schema":"noether.snapshot/v1","elapsed_seconds":"5"}`, `read a snapshot: "\"5\"" is no number`},
		"a flood":         {strings.Repeat(" ", MaxLine+1), "read a snapshot: it is longer than 64 MB"},
	} {
		if _, err := Decode([]byte(c.line)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1_000_000, "-0.5": -500_000, "1.000001": 1_000_001, "9223372036854.775807": 1<<63 - 1,
		"9223372036854.775808": 0, "1e3": 1_000_000_000, "0.0000019": 1, "1e999": 0, "-1e300": 0,
	} {
		var d decimal
		if err := d.UnmarshalJSON([]byte(text)); err != nil {
			t.Error(err)
		}
		if got := d.scaled(6); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, exporttest.Snapshot()))
	f.Add([]byte(`{"schema":"noether.snapshot/v1","node":[{"component":"cpu","part":"idle","quality":"measured","joules_total":1e30}],"processes":null,"zones":[{"socket":-3}],"pods":[{"labels":[null,"a"],"energy":[{}]}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := Decode(line)
		if err != nil {
			return
		}
		// What was read can be written, and reads as the same again.
		written := Append(nil, s)
		read, err := Decode(written)
		if err != nil {
			t.Fatalf("%v in %s", err, written)
		}
		if twice := Append(nil, read); !bytes.Equal(written, twice) {
			t.Errorf("written as\n%sthen as\n%s", written, twice)
		}
	})
}
