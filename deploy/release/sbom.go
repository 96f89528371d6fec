package release

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// readIdentifiers reads the report of go-licenses: package or module, address,
// SPDX identifier. A module with parts under different licences has several.
func readIdentifiers(r io.Reader) (map[string]string, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord = 3
	all, err := rows.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read report of go-licenses: %w", err)
	}
	byPackage := map[string]string{}
	for _, row := range all {
		byPackage[row[0]] = row[2]
	}
	return byPackage, nil
}

// identifiersOf collects the identifiers of packages that lie in module.
func identifiersOf(byPackage map[string]string, module string) []string {
	var ids []string
	for pkg, id := range byPackage {
		if (pkg == module || strings.HasPrefix(pkg, module+"/")) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// The types of CycloneDX 1.6 (cyclonedx.org/docs/1.6/json), less what is never
// written here.
type bom struct {
	BOMFormat    string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string          `json:"type"`
	BOMRef     string          `json:"bom-ref"`
	Name       string          `json:"name"`
	Version    string          `json:"version,omitempty"`
	Scope      string          `json:"scope,omitempty"`
	Hashes     []hashOf        `json:"hashes,omitempty"`
	Licenses   []licenceChoice `json:"licenses,omitempty"`
	PURL       string          `json:"purl,omitempty"`
	Properties []property      `json:"properties,omitempty"`
}

type hashOf struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

// licenceChoice holds one of the two.
type licenceChoice struct {
	License    *licenceID `json:"license,omitempty"`
	Expression string     `json:"expression,omitempty"`
}

type licenceID struct {
	ID string `json:"id"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// binaryBOM is the bill of materials of a binary, by what its own build info
// says is in it.
func (s Source) binaryBOM(binary, name string, byPackage map[string]string) (bom, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return bom{}, err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return bom{}, fmt.Errorf("read build info of %s: %w", binary, err)
	}
	return s.bill(info, sha256.Sum256(content), name, byPackage)
}

func (s Source) bill(info *buildinfo.BuildInfo, sum [sha256.Size]byte, name string, byPackage map[string]string) (bom, error) {
	top := component{
		Type: "application", Name: name, Version: s.Version, Licenses: licensed([]string{"Apache-2.0"}),
		BOMRef: "binary", PURL: "pkg:generic/noether@" + url.PathEscape(s.Version),
		Hashes: []hashOf{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	for _, set := range info.Settings {
		if set.Key == "GOOS" || set.Key == "GOARCH" || set.Key == "CGO_ENABLED" {
			top.Properties = append(top.Properties, property{"cdx:gomod:build:env:" + set.Key, set.Value})
		}
	}
	components := []component{{
		Type: "library", Name: "std", Version: info.GoVersion, Scope: "required", Licenses: licensed([]string{"BSD-3-Clause"}),
		PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
	}}
	for _, m := range info.Deps {
		c, err := moduleComponent(m, byPackage)
		if err != nil {
			return bom{}, err
		}
		components = append(components, c)
	}
	for i := range components {
		components[i].BOMRef = components[i].PURL
	}
	return s.assemble(top, components), nil
}

// assemble makes a document of a thing and what it is made of, all of it
// depended on directly: a binary does not tell which of its modules needs
// which. Its number follows from the content.
func (s Source) assemble(top component, parts []component) bom {
	b := bom{
		BOMFormat: "CycloneDX", SpecVersion: "1.6", Version: 1, Components: parts,
		Metadata: metadata{Timestamp: s.Created.Format(time.RFC3339), Component: top},
	}
	all := dependency{Ref: top.BOMRef}
	for _, p := range parts {
		all.DependsOn = append(all.DependsOn, p.BOMRef)
		b.Dependencies = append(b.Dependencies, dependency{Ref: p.BOMRef})
	}
	b.Dependencies = append([]dependency{all}, b.Dependencies...)
	sum := sha256.Sum256(encode(b))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // RFC 9562 §5.8: version 8, made by a rule of our own
	b.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	return b
}

func moduleComponent(m *debug.Module, byPackage map[string]string) (component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	c := component{Type: "library", Name: m.Path, Version: m.Version, Scope: "required", PURL: "pkg:golang/" + m.Path + "@" + url.PathEscape(m.Version)}
	ids := identifiersOf(byPackage, m.Path)
	if len(ids) == 0 {
		return c, fmt.Errorf("find licence of %s: the report of go-licenses does not have it; make the report of the same sources", m.Path)
	}
	c.Licenses = licensed(ids)
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == sha256.Size {
		// As cyclonedx-gomod does: the module's hash of go.sum.
		c.Hashes = []hashOf{{"SHA-256", hex.EncodeToString(sum)}}
	}
	return c, nil
}

func licensed(ids []string) []licenceChoice {
	if len(ids) == 1 {
		return []licenceChoice{{License: &licenceID{ids[0]}}}
	}
	return []licenceChoice{{Expression: strings.Join(ids, " AND ")}}
}

// imageBOM is the bill of materials of the image of several platforms: each
// binary with its modules, and the certificates, which are the only other
// thing of somebody else.
func (s Source) imageBOM(ref, digest string, binaries []bom) bom {
	cas := sha256.Sum256(CertificateAuthorities())
	top := component{
		Type: "container", Name: ref, Version: digest, BOMRef: "image", Licenses: licensed([]string{"Apache-2.0"}),
		PURL: "pkg:oci/noether@" + url.QueryEscape(digest) + "?tag=" + url.QueryEscape(s.Number()),
	}
	parts := []component{{
		Type: "file", Name: caPath, BOMRef: "certificates", Licenses: licensed([]string{"MPL-2.0"}),
		Hashes: []hashOf{{"SHA-256", hex.EncodeToString(cas[:])}},
	}}
	var needs []dependency
	seen := map[string]bool{}
	for _, b := range binaries {
		program := b.Metadata.Component
		program.BOMRef = program.Name
		parts = append(parts, program)
		need := b.Dependencies[0]
		need.Ref = program.BOMRef
		needs = append(needs, need)
		for _, c := range b.Components {
			if !seen[c.BOMRef] {
				seen[c.BOMRef] = true
				parts = append(parts, c)
			}
		}
	}
	out := s.assemble(top, parts)
	for i, d := range out.Dependencies {
		for _, n := range needs {
			if d.Ref == n.Ref {
				out.Dependencies[i] = n
			}
		}
		if d.Ref == top.BOMRef { // the rest is in it by way of the binaries
			out.Dependencies[i].DependsOn = []string{"certificates"}
			for _, n := range needs {
				out.Dependencies[i].DependsOn = append(out.Dependencies[i].DependsOn, n.Ref)
			}
		}
	}
	return out
}

// encode writes JSON that people can read. Its arguments cannot fail.
func encode(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}
