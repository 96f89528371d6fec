package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// alias is a command of the Impact Framework that this binary answers to.
type alias struct {
	name, summary string
	flags         []aliasFlag
	required      string // a flag without which the command says so and ends well, as the framework does
	run           func(ctx context.Context, p *process, a *aliasArgs) error
}

// aliasFlag is one flag in the framework's notation.
type aliasFlag struct {
	name, short string
	kind        string // "", "string", "string[]"
	help        string
}

// aliasArgs are the values of the flags.
type aliasArgs struct {
	text map[string][]string
	set  map[string]bool
	all  []string
	name string
}

func (a *aliasArgs) get(name string) string {
	if len(a.text[name]) == 0 {
		return ""
	}
	return a.text[name][0]
}

// called returns the arguments of the program, led by the command of the
// framework that the program was called as, if it was called as one.
func called(program string, args []string) []string {
	name := strings.TrimSuffix(filepath.Base(program), ".exe")
	if slices.ContainsFunc(aliases(), func(a alias) bool { return a.name == name }) {
		return append([]string{name}, args...)
	}
	return args
}

func aliases() []alias {
	manifest := aliasFlag{"manifest", "m", "string", "[path to the input file]"}
	return []alias{
		{name: "if-run", summary: "run a manifest", run: aliasRun, flags: []aliasFlag{
			manifest,
			{"output", "o", "string", "[path to the output file]"},
			{"no-output", "n", "", "[prevent output to the console]"},
			{"append", "a", "", "[append to outputs, instead of overwriting]"},
			{"debug", "d", "", "[prints out debug logs to the console]"},
			{"observe", "", "", "[executes only observe pipeline of the manifest]"},
			{"regroup", "", "", "[executes only regroup pipeline of the manifest]"},
			{"compute", "", "", "[executes only compute pipeline of the manifest]"},
		}},
		{name: "if-diff", summary: "compare two output manifests", run: aliasDiff, flags: []aliasFlag{
			{"source", "s", "string", "[path to the source file]"}, {"target", "t", "string", "[path to the target file]"},
		}},
		{name: "if-check", summary: "run output manifests again and compare", run: aliasCheck, flags: []aliasFlag{
			manifest, {"directory", "d", "string", "[path to the manifests directory]"},
		}},
		{name: "if-env", summary: "say what a manifest needs", run: aliasEnv, flags: []aliasFlag{
			manifest,
			{"install", "i", "", "[nothing is to install: accepted for compatibility]"},
			{"cwd", "c", "", "[write to the working directory]"},
		}},
		{name: "if-csv", summary: "tabulate a parameter of an output manifest", run: aliasCSV, required: "params", flags: []aliasFlag{
			manifest, {"output", "o", "string", "[path to the csv output file]"}, {"params", "p", "string", "[parameter to export]"},
		}},
		{name: "if-merge", summary: "merge manifests", run: aliasMerge, required: "manifests", flags: []aliasFlag{
			{"manifests", "m", "string[]", "[path to the manifests files]"},
			{"output", "o", "string", "[path to the merged output file]"},
			{"name", "n", "string", "[name of the merged manifest]"},
			{"description", "d", "string", "[description of the merged manifest]"},
		}},
		{name: "if-metadata-check", summary: "say which parameters lack metadata", run: aliasMetadata, required: "manifest", flags: []aliasFlag{
			manifest, {"plugins", "p", "string[]", "[plugins to look at]"},
		}},
		{name: "if-api", summary: "serve runs of manifests by HTTP", run: aliasServe, flags: []aliasFlag{
			{"debug", "d", "", "Print debug logs to the console"},
			{"disableExternalPluginWarning", "w", "", "Disable external plugin warning"},
			{"disabledPlugins", "f", "string", "Filename that contains plugin names to be disabled"},
			{"port", "p", "string", "Port to listen on"},
			{"host", "b", "string", "Host to listen on"},
		}},
	}
}

// newAliases returns the commands of the framework, which take their own flags
// in their own way: they are hidden, because they are meant to be links.
func newAliases(p *process) []*cobra.Command {
	var out []*cobra.Command
	for _, a := range aliases() {
		out = append(out, &cobra.Command{
			Use: a.name, Short: "Impact Framework: " + a.summary, Hidden: true, DisableFlagParsing: true,
			RunE: func(cmd *cobra.Command, args []string) error { return a.execute(cmd.Context(), p, args) },
		})
	}
	return out
}

func (a *alias) execute(ctx context.Context, p *process, args []string) error {
	given, err := a.parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(p.stdout, "%s\nHere are the supported flags for the `%s` command:\n", err, a.name)
		a.help(p.stdout)
		return &exitError{code: exitFailed}
	}
	if a.required != "" && given.get(a.required) == "" {
		if given.set["help"] {
			a.help(p.stdout)
			return nil
		}
		_, _ = fmt.Fprintf(p.stdout, "Required parameter '%s' was not passed. Please provide a value by passing '--%[1]s=passedValue' or '-%s passedValue' in command line arguments\nTo view the help guide pass '-h'\n",
			a.required, a.find(a.required).short)
		return nil
	}
	if given.set["help"] {
		a.help(p.stdout)
		return nil
	}
	return a.run(ctx, p, given)
}

func (a *alias) help(w io.Writer) {
	_, _ = fmt.Fprintf(w, "\n%s: %s, as the Impact Framework's command of this name\n\nOptions\n\n", a.name, a.summary)
	for _, f := range slices.Concat(a.flags, []aliasFlag{{"help", "h", "", "[prints out the above help instruction]"}}) {
		short := "    "
		if f.short != "" {
			short = "-" + f.short + ", "
		}
		_, _ = fmt.Fprintf(w, "  %s%-34s %s\n", short, strings.TrimSpace("--"+f.name+" "+f.kind), f.help)
	}
	_, _ = fmt.Fprintf(w, "\nnoether impact --help lists what the same engine can do besides.\n\n")
}

func (a *alias) find(name string) *aliasFlag {
	for i := range a.flags {
		if f := &a.flags[i]; f.name == name || f.short != "" && f.short == name {
			return f
		}
	}
	if name == "help" || name == "h" {
		return &aliasFlag{name: "help", short: "h"}
	}
	return nil
}

// parse reads flags as the framework's commands do: "--name value",
// "--name=value", "-n value", several short ones in one word. A flag that is
// given without its value is as if it were not given.
func (a *alias) parse(args []string) (*aliasArgs, error) {
	out := &aliasArgs{text: map[string][]string{}, set: map[string]bool{}, all: args, name: a.name}
	var open *aliasFlag // the flag that takes the next word
	for _, arg := range args {
		switch {
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			name, v, assigned := strings.Cut(arg[2:], "=")
			f := a.find(name)
			if f == nil || len(name) == 1 {
				return nil, errors.New("Unknown option: --" + name)
			}
			if err := out.open(f); err != nil {
				return nil, err
			}
			open = f
			if assigned && f.kind != "" {
				out.add(f, v)
				open = nil
			}
		case len(arg) > 1 && arg[0] == '-' && (arg[1] < '0' || arg[1] > '9'):
			for _, c := range arg[1:] {
				f := a.find(string(c))
				if f == nil || f.short != string(c) {
					return nil, errors.New("Unknown option: -" + string(c))
				}
				if err := out.open(f); err != nil {
					return nil, err
				}
				open = f
			}
		case open == nil || open.kind == "":
			return nil, errors.New("Unknown value: " + arg)
		default:
			out.add(open, arg)
			if open.kind == "string" {
				open = nil
			}
		}
	}
	return out, nil
}

// open notes that a flag was given; twice is an error unless it takes a list.
func (a *aliasArgs) open(f *aliasFlag) error {
	if a.set[f.name] && f.kind != "string[]" {
		v := "true"
		if f.kind != "" {
			v = a.get(f.name)
		}
		return fmt.Errorf("Singular option already set [%s=%s]", f.name, v) //nolint:staticcheck // the framework's words
	}
	a.set[f.name] = true
	return nil
}

func (a *aliasArgs) add(f *aliasFlag, v string) { a.text[f.name] = append(a.text[f.name], v) }

func aliasRun(ctx context.Context, p *process, a *aliasArgs) error {
	return runManifest(ctx, p, &runOptions{
		manifest: a.get("manifest"), output: a.get("output"), noOutput: a.set["no-output"], append: a.set["append"], debug: a.set["debug"],
		observe: a.set["observe"], regroup: a.set["regroup"], compute: a.set["compute"],
		compat: true, reach: reach{allowShell: true, maxDownload: defaultDownload, timeout: defaultTimeout}, program: a.name, args: a.all,
	})
}

// reported ends a command of the framework: what went wrong is printed on
// standard output, as it does, and the exit code is 2.
func reported(p *process, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	newConsole(p, true, false).Failed(err)
	return &exitError{code: exitUsage}
}
