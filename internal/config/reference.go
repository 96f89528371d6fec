package config

import (
	"fmt"
	"strings"
)

// Reference returns the page about all settings, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Generated from internal/config: go test ./internal/config -update. Do not edit. -->

Every setting has one name. It is a flag (` + "`--interval 1s`" + `), an environment variable
(` + "`NOETHER_INTERVAL=1s`" + `) and a key of the YAML file that ` + "`--config`" + ` names
(` + "`interval: 1s`" + `). A flag wins over the environment, the environment over the file, the file over the
default. An empty variable counts as not set. A dot may be written as nesting:

` + "```yaml" + `
interval: 1s
sensor: [powercap, model]
log:
  level: debug        # or, on one line, log.level: debug
` + "```" + `

The file is strict: an unknown key, a key that stands twice or a value of the wrong type is an error that names
file, line and column, and nothing starts. ` + "`noether check --config FILE`" + ` finds all of them at once. An unknown
` + "`NOETHER_`" + ` variable is a warning. A list is a repeated flag, a YAML sequence, or words with commas between them.

| setting | environment | value | default | meaning |
|---|---|---|---|---|
`)
	cell := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
	}
	for _, s := range Table() {
		form := s.Form
		if s.Kind == Bool {
			form = "true|false"
		}
		if s.Kind == List {
			form += ", …"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", s.Name, s.Env(), cell(form), cell(s.Default()), s.Help)
	}
	return b.String()
}
