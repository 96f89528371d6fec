package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// found is one setting as a file says it.
type found struct {
	setting      *Setting
	texts        []string
	line, column int
}

// parse returns the settings of a YAML file and every problem it has, each
// with its line. Values are checked for their type here, for their sense when
// they are set.
func parse(name string, content []byte, table []Setting) ([]found, []Problem) {
	p := parser{file: name, table: table, seen: map[string]int{}}
	dec := yaml.NewDecoder(strings.NewReader(string(content)))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // empty, or comments alone
	case err != nil:
		return nil, []Problem{syntaxProblem(name, err)}
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		p.problem(&second, "", "", "is a second YAML document: keep one")
	case !errors.Is(err, io.EOF):
		p.problems = append(p.problems, syntaxProblem(name, err))
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
	case root.Kind != yaml.MappingNode:
		p.problem(root, "", "", "is not a mapping: write settings like interval: 5s")
	default:
		p.mapping("", root)
	}
	return p.found, p.problems
}

// syntaxProblem turns "yaml: line 3: what" into a problem with a line.
func syntaxProblem(name string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{Source: name, Text: "is not YAML: " + text}
	if m := regexp.MustCompile(`^line (\d+): (?s:(.*))$`).FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = "is not YAML: " + m[2]
	}
	return p
}

type parser struct {
	file     string
	table    []Setting
	seen     map[string]int // line of each key
	found    []found
	problems []Problem
}

func (p *parser) problem(n *yaml.Node, key, value, text string) {
	p.problems = append(p.problems, Problem{Source: p.file, Line: n.Line, Column: n.Column, Name: key, Value: value, Text: text})
}

// mapping reads a mapping whose keys continue prefix, which is empty or ends in a dot.
func (p *parser) mapping(prefix string, m *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], resolve(m.Content[i+1])
		name := prefix + key.Value
		at := slices.IndexFunc(p.table, func(s Setting) bool { return s.Name == name })
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			p.problem(key, "", "", "is a key that is no word")
		case name == "config":
			p.problem(key, name, "", "cannot stand in the file itself: use --config or NOETHER_CONFIG")
		case at >= 0:
			p.setting(&p.table[at], key, value)
		case !p.isGroup(name + "."):
			text := "is no setting"
			if hint := didYouMean(name, p.names()); hint != "" {
				text += ": " + hint
			}
			p.problem(key, name, "", text)
		case value.Kind != yaml.MappingNode:
			p.problem(value, name, "", "is a group: write its settings below it, such as "+p.inGroup(name+"."))
		default:
			p.mapping(name+".", value)
		}
	}
}

// resolve follows an alias; the parser of YAML has refused cycles and unknown anchors.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func (p *parser) names() []string {
	names := make([]string, len(p.table))
	for i := range p.table {
		names[i] = p.table[i].Name
	}
	return names
}

func (p *parser) isGroup(prefix string) bool { return p.inGroup(prefix) != "" }

func (p *parser) inGroup(prefix string) string {
	for i := range p.table {
		if strings.HasPrefix(p.table[i].Name, prefix) {
			return p.table[i].Name
		}
	}
	return ""
}

func (p *parser) setting(s *Setting, key, value *yaml.Node) {
	if line, twice := p.seen[s.Name]; twice {
		p.problem(key, s.Name, "", fmt.Sprintf("stands here again: line %d has it already", line))
		return
	}
	p.seen[s.Name] = key.Line
	f := found{setting: s, line: value.Line, column: value.Column}
	if s.Kind == List && value.Kind == yaml.SequenceNode {
		for _, item := range value.Content {
			item = resolve(item)
			if item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
				p.problem(item, s.Name, item.Value, "is an item that is no text: put it in quotes")
				return
			}
			f.texts = append(f.texts, item.Value)
		}
		p.found = append(p.found, f)
		return
	}
	want := map[Kind]string{Text: "text", Value: "a number or a text", List: "a text or a list of texts", Bool: "true or false", Number: "a number"}[s.Kind]
	switch {
	case value.Kind != yaml.ScalarNode:
		p.problem(value, s.Name, "", fmt.Sprintf("wants %s, such as %s", want, s.Example))
	case value.Tag == "!!null":
		p.problem(key, s.Name, "", fmt.Sprintf("has no value: write one, such as %s, or leave the line out", s.Example))
	case s.Kind == Bool && value.Tag != "!!bool":
		p.problem(value, s.Name, value.Value, "is not true or false")
	case s.Kind == Number && value.Tag != "!!int" && value.Tag != "!!float":
		p.problem(value, s.Name, value.Value, fmt.Sprintf("is not a number: write it like %s, without quotes", s.Example))
	case s.Kind == Value && value.Tag != "!!str" && value.Tag != "!!int" && value.Tag != "!!float":
		p.problem(value, s.Name, value.Value, "is neither a number nor a text")
	case s.Form == "DURATION": // 5 and 5s both go on: the setting says what lacks
		f.texts = []string{value.Value}
		p.found = append(p.found, f)
	case (s.Kind == Text || s.Kind == List) && value.Tag != "!!str":
		p.problem(value, s.Name, value.Value, "is not text: put it in quotes if it is meant")
	default:
		f.texts = []string{value.Value}
		p.found = append(p.found, f)
	}
}
