package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// The page about carbon shows flags that exist, commands that are accepted and
// YAML that is some.
func TestCarbonDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/carbon.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	seen := map[string]int{}
	for _, b := range blocks {
		seen[b[1]]++
		switch b[1] {
		case "yaml":
			for doc := range strings.SplitSeq(b[2], "\n---\n") {
				var object struct {
					APIVersion string         `yaml:"apiVersion"`
					Kind       string         `yaml:"kind"`
					Metadata   map[string]any `yaml:"metadata"`
				}
				if err := yaml.Unmarshal([]byte(doc), &object); err != nil || object.Kind == "" || object.APIVersion == "" || object.Metadata["name"] == "" {
					t.Errorf("%v in\n%s", err, doc)
				}
			}
		case "sh", "console":
			for _, m := range regexp.MustCompile(`noether carbon ([a-z]+)([^)|&\n>]*)`).FindAllStringSubmatch(b[2], -1) {
				checkFlags(t, m[1], m[2])
			}
		}
	}
	if seen["yaml"] < 2 || seen["console"] < 6 || seen["sh"] < 3 {
		t.Errorf("%v: blocks are missing", seen)
	}
}

// checkFlags parses a command line without running it.
func checkFlags(t *testing.T, name, args string) {
	t.Helper()
	root := newCarbon(&process{})
	var cmd *cobra.Command
	for _, c := range root.Commands() {
		if c.Name() == name {
			cmd = c
		}
	}
	if cmd == nil {
		t.Errorf("no command noether carbon %s", name)
		return
	}
	if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
		t.Errorf("noether carbon %s%s: %v", name, args, err)
	}
}
