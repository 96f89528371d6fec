package deploy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// grafanas are the versions of @grafana/schema, and where its types of panels
// and its whole are.
func grafanas() map[string]func(panel string) string {
	panels := map[string]string{"stat": "Stat", "table": "Table", "text": "Text", "timeseries": "TimeSeries"}
	return map[string]func(string) string{
		"grafana-schema-11": func(p string) string {
			return "dist/esm/raw/composable/" + p + "/panelcfg/x/" + panels[p] + "PanelCfg_types.gen.d.ts"
		},
		"grafana-schema-12": func(p string) string {
			return "dist/types/raw/composable/" + p + "/panelcfg/x/" + panels[p] + "PanelCfg_types.gen.d.ts"
		},
		"grafana-schema-13": func(p string) string { return "dist/types/raw/composable/" + p + "/panelcfg/x/types.gen.d.ts" },
	}
}

// schemas returns a directory with the pinned packages, installed once into
// the user's cache: nothing of them is in the clone.
func schemas(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"npm", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not on PATH (Debian: apt-get install npm): the dashboards are not held against Grafana's types", program)
		}
	}
	h := sha256.New()
	files := map[string][]byte{}
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("grafana", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
		h.Write(text)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "noether", "grafana-schema-"+hex.EncodeToString(h.Sum(nil)[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "grafana-schema-new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = fresh
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("the types of Grafana cannot be installed here: npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// literals writes a dashboard as typed constants.
func literals(t *testing.T, file string, text []byte) []byte {
	t.Helper()
	var d map[string]json.RawMessage
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	list := func(of json.RawMessage, name string) (out []json.RawMessage) {
		inside := map[string][]json.RawMessage{}
		if name == "" {
			if err := json.Unmarshal(of, &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		if err := json.Unmarshal(of, &inside); err != nil {
			t.Fatal(err)
		}
		return inside[name]
	}
	var b bytes.Buffer
	b.WriteString("import type { Event, Frame, Row, Stat, Table, Text, TimeSeries, Variable } from './types';\n")
	for i, v := range list(d["templating"], "list") {
		fmt.Fprintf(&b, "export const variable%d: Variable = %s;\n", i, v)
	}
	for i, a := range list(d["annotations"], "list") {
		fmt.Fprintf(&b, "export const event%d: Event = %s;\n", i, a)
	}
	kinds := map[string]string{"row": "Row", "stat": "Stat", "table": "Table", "text": "Text", "timeseries": "TimeSeries"}
	for i, p := range list(d["panels"], "") {
		var panel struct{ Type string }
		if err := json.Unmarshal(p, &panel); err != nil {
			t.Fatal(err)
		}
		kind := kinds[panel.Type]
		if kind == "" {
			t.Fatalf("%s: no type for a panel %q", file, panel.Type)
		}
		fmt.Fprintf(&b, "export const panel%d: %s = %s;\n", i, kind, p)
	}
	for _, name := range []string{"templating", "annotations", "panels"} {
		delete(d, name)
	}
	frame, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "export const frame: Frame = %s;\n", frame)
	return b.Bytes()
}

// typecheck runs tsc on sources against one version of the types, and returns what it says.
func typecheck(t *testing.T, packages, version string, panel func(string) string, sources map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(packages, "node_modules", version)
	paths := map[string][]string{}
	for _, whole := range []string{"dist/types/index.d.ts", "dist/index.d.ts"} {
		if _, err := os.Stat(filepath.Join(root, whole)); err == nil && paths["@grafana/schema"] == nil {
			paths["@grafana/schema"] = []string{filepath.Join(root, whole)}
		}
	}
	for _, name := range []string{"stat", "table", "text", "timeseries"} {
		file := filepath.Join(root, panel(name))
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		paths["@"+name] = []string{file}
	}
	config, err := json.Marshal(map[string]any{"compilerOptions": map[string]any{
		"strict": true, "noEmit": true, "skipLibCheck": true, "module": "esnext", "moduleResolution": "bundler", "target": "esnext", "paths": paths, "types": []string{},
	}, "include": []string{"*.ts"}})
	if err != nil {
		t.Fatal(err)
	}
	sources["tsconfig.json"] = config
	if sources["types.ts"], err = os.ReadFile("grafana/types.ts"); err != nil {
		t.Fatal(err)
	}
	for name, text := range sources {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(packages, "node_modules/typescript/bin/tsc"), "-p", dir, "--pretty", "false")
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return string(out)
}

func TestDashboardsAreOfGrafanasTypes(t *testing.T) {
	packages := schemas(t)
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	for version, panel := range grafanas() {
		t.Run(version, func(t *testing.T) {
			sources := map[string][]byte{}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				sources[strings.TrimSuffix(filepath.Base(file), ".json")+".ts"] = literals(t, file, text)
			}
			if said := typecheck(t, packages, version, panel, sources); said != "" {
				lines := strings.Split(said, "\n")
				t.Errorf("tsc says in %d lines:\n%s", len(lines)-1, strings.Join(lines[:min(10, len(lines))], "\n"))
			}
		})
	}
}

// What Grafana would not know is found.
func TestWrongDashboardsAreFound(t *testing.T) {
	packages := schemas(t)
	const version = "grafana-schema-12"
	text, err := os.ReadFile("../../deploy/grafana/application.json")
	if err != nil {
		t.Fatal(err)
	}
	sources, changes := map[string][]byte{}, [][2]string{
		{`"colorMode": "value"`, `"colorMode": "colour"`},
		{`"type": "custom"`, `"type": "customs"`},
		{`"graphTooltip": 1`, `"graphTooltip": "1"`},
		{`"mode": "normal"`, `"mode": "stacked"`},
		{`"gridPos": {`, `"gridPosition": {`},
		{`"enable": true`, `"enabled": true`},
		{`"showHeader": true`, `"showHeader": 1`},
		{`"legendFormat": "`, `"legend": "`},
		{`"mode": "markdown"`, `"mode": "md"`},
	}
	for i, change := range changes {
		broken := bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(broken, text) {
			t.Fatalf("application.json has no %s", change[0])
		}
		sources[fmt.Sprintf("broken%d.ts", i)] = literals(t, "application.json", broken)
	}
	said := typecheck(t, packages, version, grafanas()[version], sources)
	for i, change := range changes {
		if !strings.Contains(said, fmt.Sprintf("broken%d.ts(", i)) {
			t.Errorf("tsc takes %s", change[1])
		}
	}
}
