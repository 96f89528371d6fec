package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// SchemaLocation is what kubeconform's -schema-location takes for a directory
// that Schemas wrote.
func SchemaLocation(dir string) string {
	return dir + "/{{.ResourceKind}}{{.KindSuffix}}.json"
}

// Schemas writes a JSON schema for each kind that the API server knows, those
// of CRDs included, as kubeconform wants them. They are strict: a field that
// the API does not have is an error. It waits until every CRD is in the
// server's description of itself, and returns the number of schemas.
func (c *Cluster) Schemas(ctx context.Context, dir string) (int, error) {
	var crds struct {
		Items []struct {
			Spec struct {
				Names struct{ Kind string }
			}
		}
	}
	// The one kind of resource that may not be there yet.
	if err := c.Get(ctx, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crds); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var schemas map[string]map[string]any
	err := poll(ctx, time.Second, func() error {
		var openAPI []byte
		if err := c.Get(ctx, "/openapi/v2", &openAPI); err != nil {
			return err
		}
		var err error
		if schemas, err = strictSchemas(openAPI); err != nil {
			return finalError{err}
		}
		for _, crd := range crds.Items {
			kind := strings.ToLower(crd.Spec.Names.Kind)
			found := false
			for name := range schemas {
				found = found || strings.HasPrefix(name, kind+"-")
			}
			if !found {
				return fmt.Errorf("the API server does not describe %s yet", crd.Spec.Names.Kind)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	for name, schema := range schemas {
		content, err := json.Marshal(schema)
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json"), content, 0o644); err != nil {
			return 0, err
		}
	}
	return len(schemas), nil
}

const definitions = "#/definitions/"

// strictSchemas makes a schema of each kind of an OpenAPI v2 document, by
// kubeconform's names for them: kind-group-version, with the group's first
// part only, or kind-version.
func strictSchemas(openAPI []byte) (map[string]map[string]any, error) {
	var document struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(openAPI, &document); err != nil {
		return nil, fmt.Errorf("read the API server's OpenAPI: %w", err)
	}
	strict := map[string]any{}
	uses := map[string][]string{}
	for name, d := range document.Definitions {
		refs := map[string]bool{}
		switch name {
		case "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "io.k8s.apimachinery.pkg.api.resource.Quantity":
			strict[name] = numberOrText()
		default:
			strict[name] = strictSchema(d, refs)
		}
		for ref := range refs {
			uses[name] = append(uses[name], ref)
		}
	}
	schemas := map[string]map[string]any{}
	for name, d := range document.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 { // the others are parts of every group, such as DeleteOptions
			continue
		}
		gvk, _ := kinds[0].(map[string]any)
		group, _ := gvk["group"].(string)
		version, _ := gvk["version"].(string)
		kind, _ := gvk["kind"].(string)
		schema, ok := strict[name].(map[string]any)
		if !ok || kind == "" || version == "" {
			return nil, fmt.Errorf("the API server's OpenAPI names no kind for %s", name)
		}

		needed := map[string]any{}
		var need func(string)
		need = func(name string) {
			for _, ref := range uses[name] {
				if _, have := needed[ref]; !have {
					needed[ref] = strict[ref]
					need(ref)
				}
			}
		}
		need(name)
		schema = maps.Clone(schema)
		schema["definitions"] = needed
		file, apiVersion := strings.ToLower(kind)+"-"+version, version
		if group != "" {
			first, _, _ := strings.Cut(group, ".")
			file, apiVersion = strings.ToLower(kind)+"-"+first+"-"+version, group+"/"+version
		}
		if properties, ok := schema["properties"].(map[string]any); ok {
			properties = maps.Clone(properties)
			properties["apiVersion"] = map[string]any{"enum": []any{apiVersion}}
			properties["kind"] = map[string]any{"enum": []any{kind}}
			schema["properties"] = properties
		}
		schemas[file] = schema
	}
	return schemas, nil
}

func numberOrText() map[string]any {
	return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, map[string]any{"type": "number"}}}
}

// strictSchema copies a schema without what only Kubernetes understands, and
// closes objects whose fields are known. refs collects what it refers to.
func strictSchema(schema any, refs map[string]bool) any {
	switch v := schema.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = strictSchema(v[i], refs)
		}
		return list
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			refs[strings.TrimPrefix(ref, definitions)] = true
			return map[string]any{"$ref": ref}
		}
		object := map[string]any{}
		for key, value := range v {
			// A field may have such a name too; its value is an object then.
			if _, isSchema := value.(map[string]any); !isSchema && (key == "format" || strings.HasPrefix(key, "x-kubernetes-")) {
				continue
			}
			object[key] = strictSchema(value, refs)
		}
		if v["format"] == "int-or-string" || v["x-kubernetes-int-or-string"] == true {
			delete(object, "type")
			maps.Copy(object, numberOrText())
		}
		if _, known := object["properties"].(map[string]any); known && v["x-kubernetes-preserve-unknown-fields"] != true {
			if _, open := object["additionalProperties"]; !open {
				object["additionalProperties"] = false
			}
		}
		return object
	default:
		return v
	}
}
