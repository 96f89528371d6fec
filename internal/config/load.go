package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// maxFile bounds the configuration file.
const maxFile = 1 << 20

// Flags are the settings that a command line gave. Make it with Register.
type Flags struct {
	given map[string][]string
	// Marginal lets the chain of grid.provider give marginal intensity: for
	// commands that decide when to run something and account for nothing.
	Marginal bool
}

// flagValue keeps what a flag was given until Load looks at all of it at once.
type flagValue struct {
	setting *Setting
	flags   *Flags
}

func (v flagValue) String() string {
	if v.setting == nil {
		return "" // pflag asks a zero value whether a default is one
	}
	return v.setting.Default()
}

func (v flagValue) Set(s string) error {
	v.flags.given[v.setting.Name] = append(v.flags.given[v.setting.Name], s)
	return nil
}

func (v flagValue) Type() string {
	if v.setting.Kind == Bool {
		return "bool"
	}
	return v.setting.Form
}

// Register adds the named settings to set as flags, every setting when no name
// is given, and returns where they will be found after parsing.
func Register(set *pflag.FlagSet, names ...string) *Flags {
	f := &Flags{given: map[string][]string{}}
	table := Table()
	for i := range table {
		s := &table[i]
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		flag := set.VarPF(flagValue{s, f}, s.Name, "", s.Help)
		if s.Kind == Bool {
			flag.NoOptDefVal = "true"
		}
	}
	return f
}

// Load returns the settings of flags, environment (as os.Environ), file and
// defaults, in this order of precedence. Warnings are what looks like a
// mistake but harms nothing. The error is an *Error with every problem that
// could be found; the settings are then those that had none.
func Load(flags *Flags, environ []string) (c Config, warnings []string, err error) {
	c = Default()
	table := Table()
	env := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}

	var problems []Problem
	origin := map[string]Problem{} // where each setting comes from
	apply := func(s *Setting, texts []string, at Problem) {
		at.Name, at.Value = s.Name, strings.Join(texts, ",")
		origin[s.Name] = at
		if err := s.set(&c, texts); err != nil {
			at.Text = err.Error()
			problems = append(problems, at)
		}
	}

	file := env["NOETHER_CONFIG"]
	if given := flags.given["config"]; len(given) > 0 {
		file = last(given)
	}
	if file != "" {
		found, fileProblems := readFile(file, table)
		problems = append(problems, fileProblems...)
		for _, f := range found {
			apply(f.setting, f.texts, Problem{Source: file, Line: f.line, Column: f.column})
		}
		slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	}
	for i := range table {
		s := &table[i]
		// An empty variable says nothing, so that a wrapper can always pass it on.
		if v := env[s.Env()]; v != "" {
			apply(s, []string{v}, Problem{Source: s.Env()})
		}
		delete(env, s.Env())
	}
	for i := range table {
		if texts := flags.given[table[i].Name]; len(texts) > 0 {
			apply(&table[i], texts, Problem{Source: "--" + table[i].Name})
		}
	}
	warnings = unknownVariables(env, table)
	if len(problems) == 0 {
		for _, p := range c.validate(flags.Marginal) { // between settings that are each right
			at := origin[p.Name]
			at.Name, at.Value, at.Text = p.Name, p.Value, p.Text
			problems = append(problems, at)
		}
	}
	if len(problems) > 0 {
		return c, warnings, &Error{problems}
	}
	return c, append(warnings, c.warnings()...), nil
}

// unknownVariables names the NOETHER_ variables that no setting has. Those
// that Kubernetes sets for a Service called noether are not a mistake.
func unknownVariables(env map[string]string, table []Setting) (warnings []string) {
	known := make([]string, len(table))
	for i := range table {
		known[i] = table[i].Env()
	}
	for name, value := range env {
		if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
			strings.Contains(name, "_PORT_") && (strings.Contains(name, "_TCP") || strings.Contains(name, "_UDP")) ||
			strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://") {
			continue
		}
		w := name + " is no setting and is ignored"
		if hint := didYouMean(name, known); hint != "" {
			w += ": " + hint
		}
		warnings = append(warnings, w)
	}
	slices.Sort(warnings)
	return warnings
}

func readFile(name string, table []Setting) ([]found, []Problem) {
	content, err := readBounded(name)
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err // the place already names the file
		}
		return nil, []Problem{{Source: name, Text: fmt.Sprintf("cannot be read: %v", err)}}
	}
	return parse(name, content, table)
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return content, nil
}
