package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page about grams and the first page show commands that are accepted, and
// a manifest that has nothing wrong.
func TestCO2eDocs(t *testing.T) {
	shown, manifests := 0, 0
	pages := map[string]string{}
	for _, name := range []string{"docs/co2e.md", "README.md"} {
		pages[name] = read(t, filepath.Join("../..", name))
	}
	for file, text := range pages {
		for _, b := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(text, -1) {
			switch b[1] {
			case "sh", "console":
				for _, m := range regexp.MustCompile(`(?m)^(?:\$ )?noether (\S.*)$`).FindAllStringSubmatch(b[2], -1) {
					args, _, _ := strings.Cut(m[1], " #")
					acceptCommand(t, shellWords(t, args))
					shown++
				}
			case "yaml":
				if !strings.Contains(b[2], "\ninitialize:\n") {
					continue
				}
				manifests++
				inDir(t, map[string]string{"m.yml": b[2]})
				if code, stdout, stderr := noether(t.Context(), "impact", "check", "--lint", "-m", "m.yml"); code != 0 || stdout != "nothing looks wrong\n" {
					t.Errorf("%s: the manifest: %s%s", file, stdout, stderr)
				}
			}
		}
	}
	if shown < 12 || manifests != 1 {
		t.Errorf("%d commands and %d manifests are shown", shown, manifests)
	}
}

// acceptCommand finds the command and parses its flags, without running it.
func acceptCommand(t *testing.T, args []string) {
	t.Helper()
	cmd, rest, err := newRoot(&process{}).Find(args)
	if err == nil && cmd.HasParent() {
		err = cmd.ParseFlags(rest)
	}
	if err != nil || !cmd.HasParent() {
		t.Errorf("noether %s: %v", strings.Join(args, " "), err)
	}
}

// shellWords splits a command line as a shell does, as far as the manuals need it.
func shellWords(t *testing.T, line string) (words []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`((?:[^\s"'|;]|"[^"]*"|'[^']*')+)`).FindAllString(line, -1) {
		words = append(words, strings.NewReplacer(`"`, "", "'", "").Replace(m))
	}
	return words
}

var (
	fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inCode = regexp.MustCompile("`[^`\n]*`")
	linked = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	titled = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// Links in the manuals of this repository lead to files that are there, and to
// headings that these have.
func TestLinksOfTheManuals(t *testing.T) {
	t.Parallel()
	headings := map[string]map[string]bool{} // by file, read once
	lookup := func(file string) map[string]bool {
		if _, ok := headings[file]; !ok {
			headings[file] = map[string]bool{}
			for _, m := range titled.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, file), ""), -1) {
				headings[file][anchor(m[1])] = true
			}
		}
		return headings[file]
	}
	links := 0
	err := filepath.WalkDir("../..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "../.." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "bin"):
			return filepath.SkipDir
		case filepath.Ext(file) != ".md":
			return nil
		}
		text := inCode.ReplaceAllString(fenced.ReplaceAllString(read(t, file), ""), "")
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			path, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") || strings.HasPrefix(path, "mailto:") {
				continue
			}
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			links++
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s: %v", file, m[1], err)
			} else if fragment != "" && filepath.Ext(target) == ".md" && !lookup(target)[fragment] {
				t.Errorf("%s: the link %s: there is no such heading", file, m[1])
			}
		}
		return nil
	})
	if err != nil || links < 100 {
		t.Errorf("%d links: %v", links, err)
	}
}
