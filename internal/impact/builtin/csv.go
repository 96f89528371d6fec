package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// maxCSV bounds a table in bytes: what is read is kept in memory.
const maxCSV = 512 << 20

// table is a parsed CSV file. It is immutable after parsing and safe for
// concurrent readers.
type table struct {
	name    string
	columns []string        // without repetition, in the order of the file
	rows    []*value.Object // an empty cell is the empty text
}

// tables reads one file for the calls of one plugin: each time in the
// reference's dialect, else once. The zero tables is ready for use by many
// goroutines.
type tables struct {
	once sync.Once
	t    *table
	err  error
}

func (s *tables) read(ctx context.Context, env *plugin.Env, name string) (*table, error) {
	if !env.Dialect.PlainCSV {
		return readTable(ctx, env, name)
	}
	s.once.Do(func() { s.t, s.err = readTable(ctx, env, name) })
	return s.t, s.err
}

func readTable(ctx context.Context, env *plugin.Env, name string) (*table, error) {
	src, err := readAll(ctx, env, name)
	if err != nil {
		return nil, err
	}
	t, err := parseCSV(src, env.Dialect.PlainCSV)
	if err != nil {
		return nil, err
	}
	t.name = name
	return t, nil
}

func readAll(ctx context.Context, env *plugin.Env, name string) ([]byte, error) {
	r, err := env.Open(ctx, name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	src, err := io.ReadAll(io.LimitReader(r, maxCSV+1))
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, unreadable(name, err)
	}
	if len(src) > maxCSV {
		return nil, fault.New(fault.ReadFile, "Failed reading the file: %s. \nError: it is larger than %d MiB; import a part of it", name, maxCSV>>20)
	}
	return src, nil
}

// ShownURL returns an address as messages may have it: without what may be a
// secret in it, a password or the parameters of a signed or tokened query.
func ShownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	if u.RawQuery != "" {
		u.RawQuery = "***"
	}
	u.Fragment = ""
	return u.Redacted()
}

// unreadable words why a file or URL could not be read. Node's words are used
// where the reference prints them: they are part of recorded outputs.
func unreadable(name string, err error) error {
	if isURL(name) {
		return &fault.Error{Class: fault.FetchingFile, Message: fmt.Sprintf("Failed fetching the file: %s. \n%v", ShownURL(name), err), Cause: err}
	}
	var why string
	switch pe := (*fs.PathError)(nil); {
	case errors.Is(err, fs.ErrNotExist):
		why = fmt.Sprintf("ENOENT: no such file or directory, open '%s'", name)
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Sprintf("EACCES: permission denied, open '%s'", name)
	case errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "is a directory"):
		why = "EISDIR: illegal operation on a directory, read"
	default:
		why = err.Error()
	}
	return &fault.Error{Class: fault.ReadFile, Message: fmt.Sprintf("Failed reading the file: %s. \nError: %s", name, why), Cause: err}
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// csvReader splits RFC 4180 text into records as csv-parse 5 does: the first
// line end outside quotes is the one of the file, empty lines are skipped, a
// quote is special only as the first character of a field.
type csvReader struct {
	src   []byte
	plain bool // every kind of line end, numbers only where decimal, no numbers as column names

	pos     int
	line    int    // of the last character read, for messages
	eol     []byte // the line end of the file, nil until the first
	field   []byte // the current field without quotes
	columns []string
	keep    []int         // field → position in table.columns
	empty   *value.Object // a row without values
	t       *table
	seen    map[string]value.Value // texts met before, so that equal cells share memory
}

// maxSeen bounds the memory for shared texts.
const maxSeen = 1 << 15

func csvError(format string, args ...any) error {
	return fault.New(fault.CSVParse, "Error: "+format, args...)
}

// parseCSV reads a whole table; plain is the field PlainCSV of the dialect.
func parseCSV(src []byte, plain bool) (*table, error) {
	if plain {
		src = bytes.TrimPrefix(src, []byte("\ufeff"))
	}
	r := &csvReader{src: src, plain: plain, line: 1, t: &table{}, seen: map[string]value.Value{}}
	for r.pos < len(r.src) {
		if n := r.lineEnd(); n > 0 {
			r.pos += n
			r.line++
			continue
		}
		if err := r.record(); err != nil {
			return nil, err
		}
	}
	return r.t, nil
}

// lineEnd returns the length of the line end at the current position, 0 if
// there is none. The first one found becomes the file's.
func (r *csvReader) lineEnd() int {
	if r.pos >= len(r.src) {
		return 0
	}
	c := r.src[r.pos]
	if c != '\n' && c != '\r' {
		return 0
	}
	if r.eol == nil || r.plain {
		n := 1
		if c == '\r' && r.pos+1 < len(r.src) && r.src[r.pos+1] == '\n' {
			n = 2
		}
		r.eol = r.src[r.pos : r.pos+n]
		return n
	}
	if bytes.HasPrefix(r.src[r.pos:], r.eol) {
		return len(r.eol)
	}
	return 0
}

// record reads one record and its line end.
func (r *csvReader) record() error {
	header := r.columns == nil
	var row *value.Object
	if !header {
		row = r.empty.Copy(0)
	}
	n := 0
	for {
		if err := r.next(n); err != nil {
			return err
		}
		switch {
		case header:
			r.columns = append(r.columns, validText(r.field))
		case n < len(r.keep):
			row.SetAt(r.keep[n], r.cast())
		}
		n++
		if r.pos < len(r.src) && r.src[r.pos] == ',' {
			r.pos++
			continue
		}
		break
	}
	line := r.line
	if k := r.lineEnd(); k > 0 {
		r.pos += k
		r.line++
	}
	if header {
		return r.header()
	}
	if n != len(r.columns) {
		return csvError("Invalid Record Length: columns length is %d, got %d on line %d", len(r.columns), n, line)
	}
	r.t.rows = append(r.t.rows, row)
	return nil
}

// header takes the first record as names of columns. Of columns with the same
// name the last one's values count, at the place of the first.
func (r *csvReader) header() error {
	index := map[string]int{}
	for i, c := range r.columns {
		if f, ok := csvNumber(c, false); ok && !r.plain {
			return csvError("Invalid column definition: expect a string or a literal object, got %s at position %d", value.FormatNumber(f), i)
		}
		if _, ok := index[c]; !ok {
			index[c] = len(r.t.columns)
			r.t.columns = append(r.t.columns, c)
		}
		r.keep = append(r.keep, index[c])
	}
	// Objects put columns such as "10" first; positions follow the objects.
	r.empty = value.NewObject(len(r.t.columns))
	for _, c := range r.t.columns {
		r.empty.Set(c, value.Text(""))
	}
	for i, c := range r.columns {
		r.keep[i] = r.empty.Find(c)
	}
	for i := range r.t.columns {
		r.t.columns[i] = r.empty.Key(i)
	}
	return nil
}

// next reads one field and stops at what ends it: a comma, a line end, the end.
func (r *csvReader) next(n int) error {
	r.field = r.field[:0]
	if r.pos < len(r.src) && r.src[r.pos] == '"' {
		return r.quoted()
	}
	for r.pos < len(r.src) {
		c := r.src[r.pos]
		switch {
		case c == ',' || r.lineEnd() > 0:
			return nil
		case c == '"':
			at := strconv.Itoa(n)
			if r.columns != nil && r.t.columns != nil {
				at = "null"
				if n < len(r.columns) {
					at = jsonText(r.columns[n])
				}
			}
			bom := ""
			if string(r.field) == "\ufeff" {
				bom = " (utf8 bom)"
			}
			return csvError("Invalid Opening Quote: a quote is found on field %s at line %d, value is %s%s", at, r.line, jsonText(validText(r.field)), bom)
		}
		r.field = append(r.field, c)
		r.pos++
		if c == '\n' || c == '\r' {
			r.line++
		}
	}
	return nil
}

func (r *csvReader) quoted() error {
	r.pos++
	for r.pos < len(r.src) {
		c := r.src[r.pos]
		if c != '"' {
			r.field = append(r.field, c)
			r.pos++
			if c == '\n' || c == '\r' {
				r.line++
			}
			continue
		}
		r.pos++
		switch {
		case r.pos == len(r.src) || r.src[r.pos] == ',' || r.lineEnd() > 0:
			return nil
		case r.src[r.pos] == '"':
			r.field = append(r.field, '"')
			r.pos++
		default:
			return csvError("Invalid Closing Quote: got \"%c\" at line %d instead of delimiter, record delimiter, trimable character (if activated) or comment", r.src[r.pos], r.line)
		}
	}
	if last := r.src[len(r.src)-1]; last == '\n' || last == '\r' {
		r.line-- // the line that it would begin does not exist
	}
	return csvError("Quote Not Closed: the parsing is finished with an opening quote at line %d", r.line)
}

// cast returns the current field as a value: a number where it reads as one.
func (r *csvReader) cast() value.Value {
	if len(r.field) == 0 {
		return value.Text("")
	}
	if v, ok := r.seen[string(r.field)]; ok {
		return v
	}
	s := validText(r.field)
	if f, ok := csvNumber(s, r.plain); ok {
		return value.Of(f)
	}
	v := value.Text(s)
	if len(r.seen) < maxSeen {
		r.seen[s] = v
	}
	return v
}

// csvNumber reads a cell as csv-parse's cast does: s is a number if its value by
// ECMAScript's Number() is at least parseFloat's minus one, and the number is
// parseFloat's, so that 0x1f is 0. With plain only decimal numbers are numbers.
func csvNumber(s string, plain bool) (float64, bool) {
	decimal := len(s) > 0
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			decimal = false
			break
		}
	}
	if decimal {
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
	if s == "" || s[0] > '9' && s[0] < utf8.RuneSelf {
		return 0, false
	}
	if plain {
		t := strings.Trim(s, " \t")
		if t == "" || t == s {
			return 0, false
		}
		return csvNumber(t, true)
	}
	n, p := value.Text(s).ToNumber(), value.ParseFloat(s)
	return p, n-p+1 >= 0
}

func validText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

func jsonText(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// csvOutput is the configuration of what to take from a table: "*", the name of
// a column, [column, name], or [[column, name], [column]].
type csvOutput struct{}

func (csvOutput) Describe() string {
	return `"*", a column, [column, name], or a list of [column, name] and [column]`
}

func (csvOutput) Parse(v value.Value, path []string) (value.Value, []schema.Issue) {
	texts := schema.ArrayOf(schema.Text(), 0)
	for _, t := range []schema.Type{schema.Text(), texts, schema.ArrayOf(texts, 0)} {
		if _, issues := t.Parse(v, path); issues == nil {
			return v, nil
		}
	}
	return v, []schema.Issue{{Path: append([]string(nil), path...), Code: "invalid_union", Text: "Invalid input"}}
}

// projection takes some columns of a table's rows.
type projection struct {
	all   bool
	pairs []columnPair
}

type columnPair struct {
	column, name string
}

// project reads the output configuration. A list without a column asks for the
// column "undefined", as it does in the reference.
func project(output value.Value) projection {
	pair := func(v value.Value) columnPair {
		items := v.Items()
		p := columnPair{"undefined", "undefined"}
		if len(items) > 0 {
			p = columnPair{items[0].Str(), items[0].Str()}
		}
		if len(items) > 1 && items[1].Str() != "" {
			p.name = items[1].Str()
		}
		return p
	}
	switch items := output.Items(); {
	case output.IsString() && output.Str() == "*":
		return projection{all: true}
	case output.IsString():
		return projection{pairs: []columnPair{{output.Str(), output.Str()}}}
	case len(items) > 0 && items[0].Kind() == value.Array:
		p := projection{}
		for _, item := range items {
			p.pairs = append(p.pairs, pair(item))
		}
		return p
	}
	return projection{pairs: []columnPair{pair(output)}}
}

// source explains where the value of a parameter comes from. Under "*" nothing
// tells which parameters are the file's.
func (p projection) source(config *value.Object, out string) (plugin.Formula, bool) {
	for _, pair := range p.pairs {
		if pair.name == out {
			return plugin.Formula{Text: "column " + pair.column, Source: config.Get("filepath").Str()}, true
		}
	}
	return plugin.Formula{}, false
}

// check reports the first column that the table lacks.
func (p projection) check(t *table) error {
	for _, pair := range p.pairs {
		if !slices.Contains(t.columns, pair.column) {
			return fault.New(fault.MissingCSVColumn, "There is no column with the name: %s.", pair.column)
		}
	}
	return nil
}

// cell returns what a cell is in a row of the manifest: an empty one is null,
// in the reference's dialect the text "nan".
func cell(v value.Value, d *plugin.Dialect) value.Value {
	if v.IsString() && v.Str() == "" {
		if d.PlainCSV {
			return value.NullValue()
		}
		return value.Text("nan")
	}
	return v
}
