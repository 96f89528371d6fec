package builtin

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// csvEnv serves one file, and counts how often it is opened.
func csvEnv(d plugin.Dialect, content string) (*plugin.Env, *int) {
	e, opened := testEnv(d), new(int)
	e.Open = func(_ context.Context, name string) (io.ReadCloser, error) {
		*opened++
		if name != "t.csv" {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return io.NopCloser(strings.NewReader(content)), nil
	}
	return e, opened
}

func TestCSVCells(t *testing.T) {
	tests := []struct{ name, file, reference, plain string }{
		{"numbers", "a,b,c,d\n1,-2.5, 5,1e3\n", "[{a: 1, b: -2.5, c: 5, d: 1000}]", ""},
		{"forms of numbers", "a,b,c,d,e\n007,+3,5.,.5,-0\n", "[{a: 7, b: 3, c: 5, d: 0.5, e: -0.0}]", ""},
		{"what is no number", "a,b,c,d\n1e400,1_000,Infinity,--1\n", "[{a: '1e400', b: '1_000', c: Infinity, d: '--1'}]", ""},
		{"other bases", "a,b\n0x1f,0b1\n", "[{a: 0, b: 0}]", "[{a: '0x1f', b: '0b1'}]"},
		{"text", "a,b,c\ntrue,2024-01-01,null\n", "[{a: 'true', b: '2024-01-01', c: 'null'}]", ""},
		{"an empty cell", "a,b\n1,\n", "[{a: 1, b: nan}]", "[{a: 1, b: null}]"},
		{"quotes", "a,b\n\"x, \"\"y\"\"\",\"two\nlines\"\n", "[{a: 'x, \"y\"', b: \"two\\nlines\"}]", ""},
		{"no line end at the end", "a,b\n1,2", "[{a: 1, b: 2}]", ""},
		{"empty lines", "\n\na,b\n\n1,2\n\n", "[{a: 1, b: 2}]", ""},
		{"carriage returns", "a,b\r1,2\r", "[{a: 1, b: 2}]", ""},
		{"a column twice", "a,a,b\n1,2,3\n", "[{a: 2, b: 3}]", ""},
		{"nothing", "", "[]", ""},
		{"a byte-order mark", "\ufeffa,b\n1,2\n", "[{\"\\uFEFFa\": 1, b: 2}]", "[{a: 1, b: 2}]"},
		{"numbers as column names", "9,a\n1,2\n", "CSVParseError: Error: Invalid column definition: expect a string or a literal object, got 9 at position 0", "[{'9': 1, a: 2}]"},
		{"line ends that change", "a,b\r\n1,2\n3,4\r\n", "CSVParseError: Error: Invalid Record Length: columns length is 2, got 3 on line 3", "[{a: 1, b: 2}, {a: 3, b: 4}]"},
		{"too many cells", "a,b\n1,2,3\n", "CSVParseError: Error: Invalid Record Length: columns length is 2, got 3 on line 2", ""},
		{"too few cells", "a,b\n\n1,2\n1\n", "CSVParseError: Error: Invalid Record Length: columns length is 2, got 1 on line 4", ""},
		{"a quote inside a cell", "a,b\n1,x\"y\n", "CSVParseError: Error: Invalid Opening Quote: a quote is found on field \"b\" at line 2, value is \"x\"", ""},
		{"text after a quoted cell", "a,b\n1,\"x\"y\n", "CSVParseError: Error: Invalid Closing Quote: got \"y\" at line 2 instead of delimiter, record delimiter, trimable character (if activated) or comment", ""},
		{"a quote without end", "a,b\n1,\"xy\n", "CSVParseError: Error: Quote Not Closed: the parsing is finished with an opening quote at line 2", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				want := tt.reference
				if d.PlainCSV && tt.plain != "" {
					want = tt.plain
				}
				e, _ := csvEnv(d, tt.file)
				got := runYAML(t, e, csvImport(), `{filepath: t.csv, output: '*'}`, "[]", nil)
				if strings.HasPrefix(want, "[") {
					v, err := jsyaml.Parse([]byte(want))
					if err != nil {
						t.Fatal(err)
					}
					want = string(jsyaml.Append(nil, v))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("plain %v (-want +got):\n%s", d.PlainCSV, diff)
				}
			}
		})
	}
}

const instances = "type,year,cpus,watts\nsmall,2022,2,10\nsmall,2023,2,11\nlarge,2022,8,40\n16,2022,16,80\n"

func TestCSVImport(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"after the observations", `{filepath: t.csv, output: cpus}`, "- a: 1\n- cpus: 2\n- cpus: 2\n- cpus: 8\n- cpus: 16\n"},
		{"under another name", `{filepath: t.csv, output: [cpus, vCPUs]}`, "- a: 1\n- vCPUs: 2\n- vCPUs: 2\n- vCPUs: 8\n- vCPUs: 16\n"},
		{"an absent column", `{filepath: t.csv, output: [[cpus], [cores, n]]}`, "MissingCSVColumnError: There is no column with the name: cores."},
		{"an absent file", `{filepath: u.csv, output: '*'}`, "ReadFileError: Failed reading the file: u.csv. \nError: ENOENT: no such file or directory, open 'u.csv'"},
		{"an absent address", `{filepath: 'https://example.invalid/u.csv', output: '*'}`, "FetchingFileError: Failed fetching the file: https://example.invalid/u.csv. \nopen https://example.invalid/u.csv: file does not exist"},
		{"an output that is none", `{filepath: t.csv, output: 5}`, `InputValidationError: "output" parameter is invalid input. Error code: invalid_union.`},
	}
	for _, tt := range tests {
		e, _ := csvEnv(plugin.Noether(), instances)
		if got := runYAML(t, e, csvImport(), tt.config, `[{a: 1}]`, nil); got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestCSVLookup(t *testing.T) {
	const twice = "QueryDataNotFoundError: One or more of the given query parameters are not found in the target CSV file column headers."
	tests := []struct{ name, config, inputs, reference, noether string }{
		{"the first of several", `{filepath: t.csv, query: {type: t}, output: watts}`, `[{t: small}]`, "- t: small\n  watts: 10\n", ""},
		{"by two columns", `{filepath: t.csv, query: {type: t, year: y}, output: [[watts, w], [cpus]]}`, `[{t: small, y: 2023}]`, "- t: small\n  'y': 2023\n  w: 11\n  cpus: 2\n", ""},
		{"text equals a number", `{filepath: t.csv, query: {type: t, year: y}, output: watts}`, `[{t: 16, y: '2022'}]`, "- t: 16\n  'y': '2022'\n  watts: 80\n", ""},
		{
			"all columns, twice", `{filepath: t.csv, query: {type: t}, output: '*'}`, `[{t: small}, {t: small}]`,
			"- t: small\n  year: 2022\n  cpus: 2\n  watts: 10\n- t: small\n  year: 2023\n  cpus: 2\n  watts: 11\n",
			"- t: small\n  year: 2022\n  cpus: 2\n  watts: 10\n- t: small\n  year: 2022\n  cpus: 2\n  watts: 10\n",
		},
		{
			"all columns, after the last row", `{filepath: t.csv, query: {type: t}, output: '*'}`, `[{t: large}, {t: large}]`, twice,
			"- t: large\n  year: 2022\n  cpus: 8\n  watts: 40\n- t: large\n  year: 2022\n  cpus: 8\n  watts: 40\n",
		},
		{"nothing found", `{filepath: t.csv, query: {type: t, year: y}, output: watts}`, `[{t: tiny, y: 1}]`, twice, twice + " Observation 0: no row of t.csv has type = tiny (t) and year = 1 (y)."},
		{"a query for an absent column by an absent parameter", `{filepath: t.csv, query: {colour: c}, output: watts}`, `[{t: tiny}]`, "- t: tiny\n  watts: 10\n", "MissingCSVColumnError: There is no column with the name: colour."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				want := tt.reference
				if d.LookupKeepsRows && tt.noether != "" {
					want = tt.noether
				}
				e, _ := csvEnv(d, instances)
				if diff := cmp.Diff(want, runYAML(t, e, csvLookup(), tt.config, tt.inputs, nil)); diff != "" {
					t.Errorf("keeps rows %v (-want +got):\n%s", d.LookupKeepsRows, diff)
				}
			}
		})
	}
}

func TestCSVLookupUnderMapping(t *testing.T) {
	m := csvLookup()
	for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
		config, mapping := value.NewObject(3), value.NewObject(1)
		query := value.NewObject(1)
		query.Set("type", value.Text("t"))
		config.Set("filepath", value.Text("t.csv"))
		config.Set("query", query.Value())
		config.Set("output", value.Text("*"))
		mapping.Set("watts", value.Text("power"))
		e, _ := csvEnv(d, instances)
		p, err := m.New(e, &plugin.Declaration{Config: config, Mapping: mapping}, &m)
		if err != nil {
			t.Fatal(err)
		}
		row := value.NewObject(1)
		row.Set("t", value.Text("large"))
		rows, err := p.Execute(t.Context(), []*value.Object{row}, &plugin.Node{})
		if err != nil || rows[0].Get("power").Num() != 40 || rows[0].Has("watts") {
			t.Errorf("%v, %v", value.Rows(rows), err)
		}
	}
}

// TestCSVLookupIndex compares the index with what it stands for: the first row
// that is equal by ECMAScript's ==.
func TestCSVLookupIndex(t *testing.T) {
	tab, err := parseCSV([]byte("a,b\n,1\n 5,2\n5,1\nx,1\ntrue,1\n1e400,2\n\" \",3\n0,2\n5,2\nx,2\nnan,1\n"), true)
	if err != nil {
		t.Fatal(err)
	}
	query := value.NewObject(2)
	query.Set("a", value.Text("p"))
	query.Set("b", value.Text("q"))
	ix := newIndex(tab, query)
	asked := []value.Value{
		{},
		value.NullValue(), value.OfBool(true), value.OfBool(false), value.Of(0), value.Of(5), value.Of(1), value.Of(2), value.Of(3),
		value.Text(""), value.Text("5"), value.Text(" 5 "), value.Text("x"), value.Text("0"), value.Text("1e400"), value.Text("Infinity"), value.Text("nan"), value.Texts("x"),
	}
	for _, p := range asked {
		for _, q := range asked {
			row := value.NewObject(2)
			row.Set("p", p)
			row.Set("q", q)
			want := -1
			for i, r := range tab.rows {
				if value.LooselyEqual(r.Get("a"), p) && value.LooselyEqual(r.Get("b"), q) {
					want = i
					break
				}
			}
			if got := ix.find(row, nil); got != want {
				t.Errorf("a = %v, b = %v: found row %d, want %d", p, q, got, want)
			}
		}
	}
}

func TestCSVIsReadOnce(t *testing.T) {
	m := csvLookup()
	config, err := jsyaml.Parse([]byte(`{filepath: t.csv, query: {type: t}, output: watts}`))
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[plugin.Dialect]int{plugin.Reference(): 3, plugin.Noether(): 1} {
		e, opened := csvEnv(d, instances)
		p, err := m.New(e, &plugin.Declaration{Config: config.Object()}, &m)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			row := value.NewObject(1)
			row.Set("t", value.Text("large"))
			if _, err := p.Execute(t.Context(), []*value.Object{row}, &plugin.Node{}); err != nil {
				t.Fatal(err)
			}
		}
		if *opened != want {
			t.Errorf("opened %d times, want %d", *opened, want)
		}
	}
}

func TestCSVLookupIsNoSearch(t *testing.T) {
	var b strings.Builder
	b.WriteString("k,v\n")
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&b, "k%d,%d\n", i, i)
	}
	e, _ := csvEnv(plugin.Noether(), b.String())
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "- {p: k%d}\n", n-1-i)
	}
	rows, err := runRows(t, e, csvLookup(), `{filepath: t.csv, query: {k: p}, output: v}`, in.String(), nil)
	if err != nil || len(rows) != n || rows[0].Get("v").Num() != n-1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	tab, err := parseCSV([]byte(b.String()), true)
	if err != nil {
		t.Fatal(err)
	}
	query := value.NewObject(1)
	query.Set("k", value.Text("p"))
	ix := newIndex(tab, query)
	for _, row := range rows[:100] {
		if got := len(ix.columns[0].texts[row.Get("p").Str()]); got != 1 {
			t.Fatalf("%d candidates for one key", got)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\ufeffa\r\n\"x\"\r\n", "a,a\n\"\"\"\",'\n", "9,10\n1,2", "a,b\n1,\"", "\r\r\n\n,", "a\xff\n\xf0\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, plain := range []bool{false, true} {
			tab, err := parseCSV(src, plain)
			if err != nil {
				if !strings.HasPrefix(err.Error(), "CSVParseError: Error: ") {
					t.Errorf("error of another kind: %v", err)
				}
				continue
			}
			for _, row := range tab.rows {
				if row.Len() != len(tab.columns) {
					t.Fatalf("row of %d cells in %d columns", row.Len(), len(tab.columns))
				}
				for i, c := range tab.columns {
					if row.Key(i) != c || row.ValueAt(i).Kind() == value.Undefined {
						t.Fatalf("cell %d is %q: %v", i, row.Key(i), row.ValueAt(i).Kind())
					}
				}
			}
		}
	})
}
